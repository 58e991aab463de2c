"""Nouns in captions, and the detector's classes that they name, from a table of nouns.

COCO's table is written by hand and by WordNet, of whose many senses ("a bat", "an orange bus",
"Mouse Trap") the usual ones alone count (noun_table.py).
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from countclip.runtime.csv_files import Columns, read_rows

_WORD = re.compile(r"(?<!\w)(?<!\w-)\w+")


class Nouns:
    """Finds the classes that a caption names, by the nouns of each class.

    A noun is found as a whole word in any case; its parts are separated by spaces or hyphens
    ("dining table", "Teddy-Bears"). The longest noun wins, so a "hot dog" names no dog. Nouns that
    describe something else are not found: "dog-sized", "five-person tent", "men's shoes".
    """

    def __init__(self, nouns_csv: str | Path, classes: dict[int, str]) -> None:
        """Read the table for the detector's classes, id -> name.

        nouns_csv: the columns class and nouns. Nouns are separated by semicolons, the plural first,
            then synonyms; the name of the class need not be repeated.
        ValueError for a class that the table lacks.
        """
        nouns = _read(nouns_csv)
        if missing := sorted(set(classes.values()) - nouns.keys()):
            raise ValueError(
                f"{nouns_csv}: no line for {', '.join(missing)}, which the detector knows. Add "
                "one for each class, with the nouns that captions use for it"
            )
        self._classes: dict[str, set[int]] = defaultdict(set)
        for number, name in classes.items():
            for noun in (name, *nouns[name].split(";")):
                if key := _key(noun):
                    self._classes[key].add(number)
        self._nouns: dict[str, list[str]] = defaultdict(list)
        """Nouns by their first word, the longest first: a table has thousands."""
        for noun in sorted(self._classes, key=lambda noun: (-len(noun), noun)):
            if first := _WORD.match(noun):
                self._nouns[first[0]].append(noun)
        self._patterns: dict[str, re.Pattern[str]] = {}

    def __call__(self, caption: str) -> set[int]:
        """The ids of the classes that a caption names."""
        return {n for noun in self._find(caption.casefold()) for n in self._classes[noun]}

    def first(self, caption: str, start: int) -> set[int]:
        """The ids of the class that a caption names first from its character `start` on.

        From the end of a number word this is what that counts: "three women with two dogs".
        """
        found = self._find(caption.casefold(), len(caption[:start].casefold()))
        noun = next(found, None)
        return set() if noun is None else self._classes[noun]

    def _find(self, text: str, start: int = 0) -> Iterator[str]:
        """The nouns of a text in lower case, from left to right."""
        end = start
        for word in _WORD.finditer(text, start):
            if word.start() >= end and word[0] in self._nouns:
                found = self._pattern(word[0]).match(text, word.start())
                if found:
                    yield _key(found[0])
                    end = found.end()

    def _pattern(self, first: str) -> re.Pattern[str]:
        """A pattern of the nouns that begin with a word."""
        if first not in self._patterns:
            nouns = (re.escape(noun).replace("\\ ", r"[\s-]+") for noun in self._nouns[first])
            self._patterns[first] = re.compile(rf"(?:{'|'.join(nouns)})(?!\w|-\w|['’]s\b)")
        return self._patterns[first]


def plurals(nouns_csv: str | Path) -> dict[str, str]:
    """Class -> its plural, as in "five dogs": its first noun, or its name."""
    return {name: nouns.split(";")[0].strip() or name for name, nouns in _read(nouns_csv).items()}


def _read(nouns_csv: str | Path) -> dict[str, str]:
    """Class -> its nouns, as the table writes them; ValueError for a class that it has twice."""
    nouns: dict[str, str] = {}

    def add(fields: dict[str, str], _: int) -> None:
        name = fields["class"]
        if not name or name in nouns:
            raise ValueError(
                f"class {name!r} is empty or on an earlier line too: write each class with all its"
                " nouns on one line"
            )
        nouns[name] = fields["nouns"]

    read_rows(nouns_csv, Columns(("class", "nouns")), add)
    return nouns


def _key(noun: str) -> str:
    return " ".join(re.split(r"[\s-]+", noun.casefold().strip()))
