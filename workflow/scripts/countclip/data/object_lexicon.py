"""The lexicon of nouns and the tags of words: `python -m countclip.data.object_lexicon A B`.

A: the folder of WordNet 3.0's database, as Debian's package wordnet-base installs it in
    /usr/share/wordnet. B: textblob/en/en-lexicon.txt of TextBlob, whose PatternTagger reads it.
Both are needed only to make the files anew.
"""

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from countclip.runtime.files import publish
from countclip.runtime.resources import HOME

OBJECTS = HOME / "resources" / "objects"
LEXICON = OBJECTS / "wordnet_nouns.csv"
TAGS = OBJECTS / "tags.csv"
COLUMNS = ("word", "lemma", "kind", "use")
CONCRETE = {5, 6, 8, 13, 17, 18, 19, 20, 25, 27}
"""WordNet's files of animals, artefacts, body parts, food, natural objects, people, phenomena,
plants, shapes and substances."""
SENSES = 2
"""A noun is concrete if one of so many first senses is: they are ordered by frequency."""
ENDINGS = {
    "ses": "s",
    "xes": "x",
    "zes": "z",
    "ches": "ch",
    "shes": "sh",
    "men": "man",
    "children": "child",
    "ies": "y",
    "s": "",
    "ves": "f",
}
"""Endings of plurals and what the singular has instead: WordNet's rules, the surest first."""


OTHERS = ("verb", "adj", "adv")


TAG_ENDINGS = {
    "VBP": ("ate", "ify", "ise", "ize"),
    "VBN": ("ed",),
    "JJ": ("able", "al", "ful", "ible", "ient", "ish", "ive", "less", "tic", "ous"),
}
"""Endings that PatternTagger goes by, the first that fits, for a word that it does not know."""


class Sense(NamedTuple):
    """One meaning of a noun; `common` unless it is a name or written with a capital."""

    file: int
    common: bool
    count: int


def singulars(word: str) -> Iterator[str]:
    """What a plural may be the plural of, by its ending."""
    for ending, instead in ENDINGS.items():
        if word.endswith(ending) and len(word) > len(ending) + 1:
            yield word.removesuffix(ending) + instead


def tag_by_ending(word: str) -> str:
    """The tag that PatternTagger has for a word that it does not know, in lower case."""
    for tag, endings in TAG_ENDINGS.items():
        if word.endswith(endings) or (tag == "JJ" and "-" in word):
            return tag
    if word.endswith("s") and not word.endswith(("is", "ss")):
        return "NNS"
    if word.endswith("ly"):
        return "RB"
    return "VBG" if word.endswith("ing") else "NN"


def build_tags(tagger_txt: str | Path, tags_csv: str | Path = TAGS) -> None:
    """Write the words in lower case whose tag is another than their ending's."""
    rows = []
    with open(tagger_txt, encoding="utf-8") as file:
        for line in file:
            word, _, tag = line.strip().rpartition(" ")
            if word[:1].isalpha() and word == word.lower() and tag != tag_by_ending(word):
                rows.append((word, tag))
    _write(("word", "tag"), sorted(rows), tags_csv)


def build(folder: str | Path, lexicon_csv: str | Path = LEXICON) -> None:
    """Write the lexicon: a row for each single word that is a noun, or an irregular plural.

    lemma: empty for a word that is its own. kind: `thing`, `other` (ideas, acts, places, groups) or
        `name`, for names that look like the plural of a noun (Wales). use: empty for a word that is
        nothing but a noun, `usual` for one that WordNet's texts have at least as often as a noun as
        otherwise, `rare` for the others. FileNotFoundError for a file that the folder lacks.
    """
    folder = Path(folder)
    frequency_of, as_noun, otherwise = counts(folder)
    nouns = _nouns(folder, frequency_of)
    common = {word for word, senses in nouns.items() if any(sense.common for sense in senses)}
    others = {line.split()[0] for part in OTHERS for line in lines(folder / f"index.{part}")}
    verbs = {line.split()[0] for line in lines(folder / "index.verb")}
    irregular = defaultdict(list)
    for line in lines(folder / "noun.exc"):
        word, *lemmas = line.split()
        irregular[word] += [lemma for lemma in lemmas if lemma in common]
    rows = []
    for word in sorted(common):
        senses = [sense for sense in nouns[word] if sense.common]
        concrete = any(sense.file in CONCRETE for sense in senses[:SENSES])
        # "eggs" has an entry too, but is the plural of "egg" wherever that is as common.
        frequency = sum(sense.count for sense in senses)
        lemma = next(
            (
                one
                for one in (*irregular[word], *singulars(word))
                if one in common
                and len(one) > 2
                and not word.endswith("ss")
                and sum(sense.count for sense in nouns[one]) >= frequency
            ),
            "",
        )
        use = "usual" if word in others or _is_form_of_verb(word, verbs) else ""
        if as_noun[word] < otherwise[word]:
            use = "rare"
        rows.append((word, lemma, "thing" if concrete else "other", use))
    for word in sorted(nouns.keys() - common):
        if lemma := next((one for one in singulars(word) if one in common), ""):
            rows.append((word, lemma, "name", ""))
    kinds = {word: kind for word, _, kind, _ in rows}
    for word, lemmas in irregular.items():
        if lemmas and word not in common and "_" not in word:
            use = "usual" if word in others else ""
            rows.append((word, lemmas[0], kinds[lemmas[0]], use))
    _write(COLUMNS, sorted(dict.fromkeys(rows)), lexicon_csv)


def _write(columns: tuple[str, ...], rows: list[tuple[str, ...]], path: str | Path) -> None:
    with publish(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _is_form_of_verb(word: str, verbs: set[str]) -> bool:
    """Whether a noun such as "crossing" is the form of a verb too."""
    stem = word.removesuffix("ing")
    return stem != word and bool({stem, stem + "e", stem[:-1]} & verbs)


def _nouns(folder: Path, counts: dict[tuple[str, int], int]) -> dict[str, list[Sense]]:
    """Single word, lower case -> its senses as a noun, the most frequent first."""
    synsets = {}
    for line in lines(folder / "data.noun"):
        fields = line.partition(" | ")[0].split()
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        synsets[fields[0]] = (int(fields[1]), frozenset(words), "@i" in fields)
    nouns = {}
    for line in lines(folder / "index.noun"):
        word, _, number, *rest = line.split()
        if "_" in word or not word[0].isalpha():
            continue
        senses = []
        for i, offset in enumerate(rest[-int(number) :], 1):
            file, words, instance = synsets[offset]
            senses.append(Sense(file, word in words and not instance, counts[word, i]))
        nouns[word] = senses
    return nouns


def counts(folder: Path) -> tuple[Counter, Counter, Counter]:
    """How often WordNet's texts have (word, sense as a noun), a word as a noun, and otherwise."""
    senses, as_noun, otherwise = Counter(), Counter(), Counter()
    most: dict[str, Counter] = defaultdict(Counter)
    for line in lines(folder / "cntlist.rev"):
        key, sense, count = line.split()
        word, _, rest = key.partition("%")
        most[word][rest[0].replace("5", "3")] += int(count)
        if rest[0] == "1":
            senses[word, int(sense)] += int(count)
    for word, parts in most.items():
        as_noun[word] = parts.pop("1", 0)
        otherwise[word] = max(parts.values(), default=0)
    return senses, as_noun, otherwise


def lines(path: Path) -> Iterator[str]:
    """The lines of a database file, without the licence at its head."""
    with path.open(encoding="latin-1") as file:
        yield from (line for line in file if not line.startswith("  "))


if __name__ == "__main__":
    build(sys.argv[1])
    build_tags(sys.argv[2])
