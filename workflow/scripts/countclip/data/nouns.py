"""Which classes of a detector does a caption name? A table of nouns says so, a line for each class.

It is written by hand rather than taken from WordNet: captions use few words for few classes, and
WordNet's many senses ("a bat", "an orange bus", "Mouse Trap") would let in more than they add.
"""

import csv
import re
from collections import defaultdict
from pathlib import Path


class Nouns:
    """The classes that a caption names, from the nouns of each class.

    A noun counts as a whole word in any case; its parts may stand apart or be hyphenated ("dining
    table", "Teddy-Bears"). The longest noun wins, so a "hot dog" names no dog. What describes
    something else counts nothing: "dog-sized", "five-person tent", "men's shoes".
    """

    def __init__(self, table: str | Path, classes: dict[int, str]) -> None:
        """table: CSV with the columns class and nouns (separated by semicolons: the plural first,
        then synonyms; the class's own name need not be repeated). classes: id -> name, the
        detector's; ValueError for one that the table lacks."""
        with open(table, encoding="utf-8", newline="") as file:
            nouns = {row["class"]: row["nouns"] or "" for row in csv.DictReader(file)}
        if missing := sorted(set(classes.values()) - nouns.keys()):
            raise ValueError(
                f"{table}: no line for {', '.join(missing)}, which the detector knows. Add one for "
                "each class, with the nouns that captions use for it"
            )
        self._classes: dict[str, set[int]] = defaultdict(set)
        for number, name in classes.items():
            for noun in (name, *nouns[name].split(";")):
                if key := _key(noun):
                    self._classes[key].add(number)
        longest_first = sorted(self._classes, key=lambda noun: (-len(noun), noun))
        words = "|".join(re.escape(noun).replace("\\ ", r"[\s-]+") for noun in longest_first)
        self._find = re.compile(rf"(?<!\w)(?<!\w-)(?:{words})(?!\w|-\w|['’]s\b)")

    def __call__(self, caption: str) -> set[int]:
        """The ids of the classes that a caption names."""
        return {
            number
            for noun in self._find.findall(caption.casefold())
            for number in self._classes[_key(noun)]
        }

    def first(self, caption: str, start: int) -> set[int]:
        """The ids of the class that a caption names first from its character `start` on: behind a
        number word, what that counts ("three women with two dogs", from the end of "three")."""
        found = self._find.search(caption.casefold(), len(caption[:start].casefold()))
        return self._classes[_key(found[0])] if found else set()


def plurals(table: str | Path) -> dict[str, str]:
    """Class -> its plural, as in "five dogs": its first noun, or its name if it has none."""
    with open(table, encoding="utf-8", newline="") as file:
        return {
            row["class"]: (row["nouns"] or "").split(";")[0].strip() or row["class"]
            for row in csv.DictReader(file)
        }


def _key(noun: str) -> str:
    return " ".join(re.split(r"[\s-]+", noun.casefold().strip()))
