"""Objects that captions name: nouns of things that one can point at.

The tags of TextBlob's PatternTagger find the nouns of the lower-cased caption, since captions are
full of Title Case Product Names. A lexicon made from WordNet tells things from ideas, acts and
places; resources/objects/words.yaml has the words on which it misleads. object_lexicon.py makes
both. The rule by which a caption is judged is in docs/explanation/objects.md.
"""

import csv
import html
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from countclip.data import number_words
from countclip.data.object_lexicon import LEXICON, OBJECTS, TAGS, singulars, tag_by_ending

Unit = Literal["concrete", "nouns", "phrases"]
UNITS: tuple[Unit, ...] = get_args(Unit)
WORDS = OBJECTS / "words.yaml"
LONGEST = 40
"""Letters of a word; what is longer is a key or a slip."""
TITLE_CASE = 0.6
"""Share of long words with a capital from which capitals say nothing."""
CACHED = 1 << 16
"""Words whose entries are remembered."""

# "don't", a word, the "'s" of a noun, a number, and any other sign.
_TOKEN = re.compile(r"[^\W\d_]+n['’]t\b|[^\W\d_]+(?:-[^\W\d_]+)*|['’][^\W\d_]{1,2}\b|\d+|[^\w\s]")
_HYPHENATED = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)+")
_LINK = re.compile(r"https?://\S*|www\.\S*|@\w+", re.IGNORECASE)
_FILE = re.compile(r"\.(?:com|net|org|info|html?|php|jpe?g|png|gif|webp|pdf|svg)\b", re.IGNORECASE)
_BEFORE_CAPITALS = frozenset('.:!?|–—-•/()[]"“”#*')
"""Signs after which a capital is no sign of a name."""
_VERBS = frozenset(("VB", "VBP", "VBZ"))
_BEFORE_VERBS = frozenset(("TO", "MD", "PRP", "WP", "WDT", "RB", "EX"))
_AFTER_VERBS = frozenset(("DT", "PRP", "PRP$", "RP"))
_NUMBERS = frozenset(number_words.WORDS.values())


class Entry(NamedTuple):
    """A word of the lexicon.

    kind: `thing`, `material`, `other` or `stop`. use: `rare` for a word that mostly is no noun,
        `usual` for one that mostly is, empty for nothing but a noun. name: whether the word is
        mostly a name where it is written with a capital.
    """

    lemma: str
    kind: str
    use: str
    name: bool = False


class Objects:
    """The objects of a caption, as a set of texts in lower case.

    unit: `concrete` finds things that one can point at, as single words in the singular, as soft
        targets need them. `nouns` finds all nouns but stop nouns, and `phrases` runs of nouns
        ("coffee table"), as statistics of captions in the literature may do.
    """

    def __init__(
        self,
        unit: Unit = "concrete",
        lexicon_csv: str | Path = LEXICON,
        words_yaml: str | Path = WORDS,
        tags_csv: str | Path = TAGS,
    ) -> None:
        if unit not in UNITS:
            raise ValueError(f"objects: {unit!r} is none of {', '.join(UNITS)}")
        self.unit = unit
        self._lexicon, self._foreign, self._english = _read(lexicon_csv, words_yaml)
        self._tags = _read_tags(tags_csv)
        self._look_up = lru_cache(CACHED)(self._find)

    def __call__(self, caption: str) -> set[str]:
        """The objects of one caption; none of a caption in another language."""
        return _OBJECTS[self.unit](self._nouns(caption))

    def in_each_unit(self, caption: str) -> dict[Unit, set[str]]:
        """The objects of one caption by unit, for the price of one."""
        nouns = self._nouns(caption)
        return {unit: objects(nouns) for unit, objects in _OBJECTS.items()}

    def singular(self, word: str) -> str:
        """The singular of a noun in lower case; a word that the lexicon lacks as it is."""
        entries = (self._lexicon.get(one) for one in (word, *singulars(word)))
        return next((entry.lemma for entry in entries if entry), word)

    def _nouns(self, caption: str) -> list[tuple[str, Entry | None]]:
        """The words and signs of a caption, with an entry where they are nouns."""
        words = self._words(caption)
        lower = [word.lower() for word in words]
        if self._is_foreign(lower):
            return []
        found = [self._look_up(word) for word in lower]
        names = _names(words)
        nouns: list[tuple[str, Entry | None]] = []
        for i, (word, (tag, entry)) in enumerate(zip(lower, found, strict=True)):
            if entry and (entry.name or names[i]):
                is_name = entry.name and word != words[i]
                is_thing = tag == "NNS" and entry.kind == "thing"  # "two Mastiffs"
                if is_name or (names[i] and not is_thing):
                    entry = None
            if entry and entry.use:
                before = found[i - 1][0] if i else ""
                after = found[i + 1][0] if i + 1 < len(found) else ""
                if not _is_noun(tag, entry, before, after):
                    entry = None
            nouns.append((word, entry))
        return nouns

    def _words(self, caption: str) -> list[str]:
        if "&" in caption:
            caption = html.unescape(caption)
        if "@" in caption or "//" in caption or "www" in caption:
            caption = _LINK.sub(" ", caption)
        if _FILE.search(caption):
            caption = " ".join(word for word in caption.split() if not _FILE.search(word))
        if "-" in caption:
            caption = _HYPHENATED.sub(self._split, caption)
        return _TOKEN.findall(caption)

    def _split(self, match: re.Match[str]) -> str:
        """Keep "t-shirt" and "dark-haired", which is no noun, but make two of "coffee-table"."""
        word = match[0].lower()
        *first, last = word.split("-")
        entry = self._lexicon.get(last)
        if word not in self._lexicon and (len(first) > 2 or (entry and entry.use != "rare")):
            return match[0].replace("-", " ")
        return match[0]

    def _is_foreign(self, words: list[str]) -> bool:
        """Whether function words of another language, and unknown words, prevail."""
        foreign = sum(word in self._foreign for word in words)
        if not foreign or foreign < sum(word in self._english for word in words):
            return False
        letters = [word for word in words if word[0].isalpha()]
        unknown = sum(not self._is_known(word) for word in letters if word not in self._foreign)
        return 2 * (foreign + unknown) >= len(letters)

    def _is_known(self, word: str) -> bool:
        return any(one in self._lexicon for one in (word, *singulars(word)))

    def _find(self, word: str) -> tuple[str, Entry | None]:
        """The tag of a word, and its entry if it may be a noun.

        PatternTagger looks at one word alone too. What the lexicon lacks, such as a brand, is
        `other` and `rare`: in nouns and phrases alone.
        """
        if not word[0].isalpha() or len(word) > LONGEST:
            return "", None
        tag = self._tags.get(word) or tag_by_ending(word)
        if word in _NUMBERS or word in self._english:
            return tag, None
        for one in (word, *singulars(word)):
            entry = self._lexicon.get(one)
            if entry and (one == word or (entry.lemma == one and not entry.name)):
                return tag, entry
        lemma = word.removesuffix("s") if tag == "NNS" else word
        return tag, Entry(lemma, "other", "rare")


def _is_noun(tag: str, entry: Entry, before: str, after: str) -> bool:
    """Whether a word that may be something else is a noun, by its tag and those around it."""
    if tag.startswith("NN"):  # "the bear watches a lake"
        acts = entry.use == "rare" and before[:2] in ("NN", "VB") and after in _AFTER_VERBS
        return entry.kind == "other" or not acts
    if entry.kind not in ("thing", "material"):
        return False
    if tag == "JJ":
        return entry.use == "usual" and not after.startswith(("NN", "JJ"))
    # A caption has few verbs: "pillow covers", but not "covers the pillow".
    return tag in _VERBS and before not in _BEFORE_VERBS and after not in _AFTER_VERBS


def _things(nouns: list[tuple[str, Entry | None]]) -> set[str]:
    entries = [entry for _, entry in nouns]
    return {
        entry.lemma
        for entry, following in zip(entries, [*entries[1:], None], strict=False)
        if entry and (entry.kind == "thing" or (entry.kind == "material" and following is None))
    }


def _lemmas(nouns: list[tuple[str, Entry | None]]) -> set[str]:
    return {entry.lemma for _, entry in nouns if entry and entry.kind != "stop"}


def _phrases(nouns: list[tuple[str, Entry | None]]) -> set[str]:
    """Runs of nouns, the last in the singular, without stop nouns at their ends."""
    phrases = set()
    run: list[tuple[str, Entry]] = []
    for word, entry in (*nouns, ("", None)):
        if entry:
            run.append((word, entry))
            continue
        while run and run[-1][1].kind == "stop":
            run.pop()
        while run and run[0][1].kind == "stop":
            run.pop(0)
        if run:
            phrases.add(" ".join([word for word, _ in run[:-1]] + [run[-1][1].lemma]))
        run = []
    return phrases


_OBJECTS: dict[Unit, Callable[[list[tuple[str, Entry | None]]], set[str]]] = {
    "concrete": _things,
    "nouns": _lemmas,
    "phrases": _phrases,
}


def _names(words: list[str]) -> list[bool]:
    """Whether the capital of each word marks a name; never in Title Case or capitals.

    The last word of a name says what it is: "Brooklyn Bridge" is a bridge.
    """
    starts = [i == 0 or words[i - 1] in _BEFORE_CAPITALS for i in range(len(words))]
    capital = [word[0].isupper() and word[1:2] != "-" for word in words]  # a "T-shirt"
    long = [i for i, word in enumerate(words) if len(word) > 3 and not starts[i]]
    if sum(capital[i] for i in long) >= TITLE_CASE * len(long):
        return [False] * len(words)
    names = [capital[i] and not starts[i] and not word.isupper() for i, word in enumerate(words)]
    return [
        names[i] and not (capital[i - 1] and not (names[i + 1 :] and names[i + 1]))
        for i in range(len(words))
    ]


@lru_cache
def _read_tags(tags_csv: str | Path) -> dict[str, str]:
    with open(tags_csv, newline="", encoding="utf-8") as file:
        return {row["word"]: row["tag"] for row in csv.DictReader(file)}


@lru_cache
def _read(
    lexicon_csv: str | Path, words_yaml: str | Path
) -> tuple[dict[str, Entry], frozenset[str], frozenset[str]]:
    """The lexicon, and the function words of other languages and of English."""
    import yaml

    with open(lexicon_csv, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        lexicon = {
            row["word"]: Entry(row["lemma"] or row["word"], row["kind"], row["use"]) for row in rows
        }
    lists = yaml.safe_load(Path(words_yaml).read_text(encoding="utf-8"))
    for word in lists["plural"]:
        lexicon[word] = Entry(word, "thing", "")
    for word, lemma in lists["lemma"].items():
        lexicon[word] = Entry(lemma, "thing", "")
    kinds = {"extra": "thing", "object": "thing", "material": "material", "stop": "stop"}
    for name, kind in kinds.items():
        for word in lists[name]:
            lexicon[word] = Entry(word, kind, lexicon[word].use if word in lexicon else "")
    for word, entry in lexicon.items():
        if entry.lemma != word:
            kind = lexicon[entry.lemma].kind
            lexicon[word] = entry._replace(kind=kind, name=entry.kind == "name")
    for word in lists["name"]:
        lexicon[word] = lexicon[word]._replace(name=True)
    return lexicon, frozenset(lists["foreign"]), frozenset(lists["english"])
