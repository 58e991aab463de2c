"""The table of COCO's nouns, from WordNet: `python -m countclip.data.noun_table A`.

A: the folder of WordNet 3.0's database, as Debian's package wordnet-base installs it in
    /usr/share/wordnet. It is needed only to make the files anew.

resources/coco_classes.csv has what people wrote: the synsets of each class, and its first nouns. A
word of a synset below them is a noun of the class if that is its most frequent sense. What is open
stands in resources/coco_nouns_review.csv, where a person decides by `take` or `leave`.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from countclip.data.object_lexicon import OTHERS, counts, lines
from countclip.runtime.csv_files import Columns, read_rows
from countclip.runtime.files import publish
from countclip.runtime.resources import HOME

CLASSES = HOME / "resources" / "coco_classes.csv"
TABLE = HOME / "resources" / "coco_nouns.csv"
REVIEW = HOME / "resources" / "coco_nouns_review.csv"
COLUMNS = ("class", "noun", "why", "decision")
DECISIONS = ("take", "plural", "leave", "open")
"""What becomes of a noun: it and its plural count, its plural alone, or neither. Of `open` neither
does, until somebody decides."""
MANY = 2000
"""Synsets of a class from which on its rare nouns of several words are left: people's."""
SENSE = "another sense is more frequent"
VERB = "more frequent as a verb"
PERSON = "somebody's decision"


class WordNet(NamedTuple):
    """What of WordNet is read: synset -> words and synsets below it; word -> its synsets, in order.

    counts: how often its texts have a word as a noun, and otherwise. plurals: irregular ones.
    """

    words: dict[str, list[str]]
    below: dict[str, list[str]]
    senses: dict[str, list[str]]
    as_noun: dict[str, int]
    otherwise: dict[str, int]
    others: set[str]
    verbs: set[str]
    plurals: dict[str, str]


def read_wordnet(folder: Path) -> WordNet:
    """Read the database; FileNotFoundError for a file that the folder lacks."""
    words, below = {}, {}
    for line in lines(folder / "data.noun"):
        fields = line.partition(" | ")[0].split()
        end = 4 + 2 * int(fields[3], 16)
        pointers = [fields[end + 1 + 4 * i : end + 5 + 4 * i] for i in range(int(fields[end]))]
        words[fields[0]] = fields[4:end:2]
        below[fields[0]] = [synset for kind, synset, *_ in pointers if kind == "~"]
    senses = {}
    for line in lines(folder / "index.noun"):
        word, _, number, *rest = line.split()
        senses[word] = rest[-int(number) :]
    plurals: dict[str, str] = {}
    for line in lines(folder / "noun.exc"):
        plural, *singulars = line.split()
        for singular in singulars:
            plurals.setdefault(singular, plural)
    _, as_noun, otherwise = counts(folder)
    index = {part: {line.split()[0] for line in lines(folder / f"index.{part}")} for part in OTHERS}
    others = set().union(*index.values())
    return WordNet(words, below, senses, as_noun, otherwise, others, index["verb"], plurals)


def synsets_below(wordnet: WordNet, names: str) -> set[str]:
    """The synsets below those of a text such as `cup.1;mug.4`: words with the places of a sense.

    `-cookie.1` takes those below another one out again.
    """
    parts = [name.strip() for name in names.split(";") if name.strip()]
    out = [name[1:] for name in parts if name.startswith("-")]
    return _below(wordnet, [name for name in parts if not name.startswith("-")]) - _below(
        wordnet, out
    )


def _below(wordnet: WordNet, names: list[str]) -> set[str]:
    found: set[str] = set()
    pending = []
    for name in names:
        word, _, place = name.rpartition(".")
        if not place.isdigit() or int(place) not in range(1, 1 + len(wordnet.senses.get(word, ()))):
            raise ValueError(
                f"synsets: {name!r} is no sense of WordNet; write a word, a dot and a number"
            )
        pending.append(wordnet.senses[word][int(place) - 1])
    while pending:
        synset = pending.pop()
        if synset not in found:
            found.add(synset)
            pending += wordnet.below[synset]
    return found


def verdict(wordnet: WordNet, word: str, synsets: set[str]) -> tuple[str, str]:
    """Decision on a word of a class by WordNet alone, and why it is not simply taken."""
    if wordnet.senses[word][0] not in synsets:
        return "open", SENSE
    if "_" in word or word not in wordnet.others:
        return "take", ""
    if wordnet.as_noun[word] >= max(wordnet.otherwise[word], 1):
        return "take", ""
    if word not in wordnet.verbs:
        return "plural", ""
    return "open", VERB


def plural_of(wordnet: WordNet, noun: str) -> str:
    """The plural of a noun, of whose words the last one changes."""
    *before, last = noun.split(" ")
    changed = wordnet.plurals.get(last)
    if changed is None:
        if last.endswith(("s", "x", "z", "ch", "sh")):
            changed = f"{last}es"
        elif last.endswith("y") and last[-2:-1] not in tuple("aeiou"):
            changed = f"{last[:-1]}ies"
        elif last.endswith("man"):
            changed = f"{last[:-2]}en"
        else:
            changed = f"{last}s"
    return " ".join([*before, changed])


def build(folder: Path, classes_csv: Path, table_csv: Path, review_csv: Path) -> None:
    """Write the table and the review list; the decisions of an earlier list stay."""
    wordnet = read_wordnet(folder)
    classes = read_rows(classes_csv, Columns(("class", "synsets", "nouns")), lambda row, _: row)
    decided = dict(read_decisions(review_csv)) if review_csv.exists() else {}
    written = {noun for row in classes for noun in _nouns(row)}
    table, review = [], []
    for row in classes:
        nouns, own = row["nouns"].split(";"), set(_nouns(row))
        synsets = synsets_below(wordnet, row["synsets"])
        words = {word for synset in synsets for word in wordnet.words[synset]}
        for word in sorted(words, key=lambda word: ("_" in word, word)):  # single words first
            noun = word.replace("_", " ")
            is_name = word != word.lower() or any(map(str.isdigit, word))
            is_rare = len(synsets) > MANY and not wordnet.as_noun[word]
            if is_name or noun in written or _adds_nothing(noun, own, written, is_rare):
                continue
            decision, why = verdict(wordnet, word, synsets)
            if earlier := decided.get((row["class"], noun)):
                decision, why = earlier, why or PERSON
            if why:
                review.append((row["class"], noun, why, decision))
            plural = plural_of(wordnet, noun)
            taken = [noun] * (decision == "take") + [plural] * (decision in ("take", "plural"))
            nouns += taken
            own.update(taken)
        table.append((row["class"], ";".join(dict.fromkeys(filter(None, nouns)))))
    _write(("class", "nouns"), table, table_csv)
    _write(COLUMNS, review, review_csv)


def read_decisions(review_csv: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """(class, noun) and decision of each line that somebody decided; ValueError for a wrong one."""

    def line(row: dict[str, str], _: int) -> dict[str, str]:
        if row["decision"] not in DECISIONS:
            raise ValueError(f"decision {row['decision']!r} is none of {', '.join(DECISIONS)}")
        return row

    for row in read_rows(review_csv, Columns(COLUMNS), line):
        if row["decision"] != "open":
            yield (row["class"], row["noun"]), row["decision"]


def _nouns(row: dict[str, str]) -> list[str]:
    return [noun for noun in (row["class"], *row["nouns"].split(";")) if noun]


def _adds_nothing(noun: str, own: set[str], written: set[str], is_rare: bool) -> bool:
    """Whether a noun of several words is found by its last one or rare, and names no other class.

    "school bus" is found by its "bus" already; "book agent" must not be taken for a book.
    """
    words = noun.split(" ")
    of_others = any(word in written and word not in own for word in words)
    return len(words) > 1 and not of_others and (words[-1] in own or is_rare)


def _write(columns: tuple[str, ...], rows: list[tuple[str, ...]], path: Path) -> None:
    with publish(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    build(Path(sys.argv[1]), CLASSES, TABLE, REVIEW)
