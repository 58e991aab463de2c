"""Number words "two" to "ten" in captions: finding and choosing them.

A number word is a whole word (Python's Unicode `\\b`), in any case: not "often", "Seventy" or
"Bachblüten", but the "three" of "three-pack".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:  # rules are parsed without them
    import numpy as np
    import pyarrow as pa

WORDS = {
    2: "two",
    3: "three",
    4: "four",
    5: "five",
    6: "six",
    7: "seven",
    8: "eight",
    9: "nine",
    10: "ten",
}
NUMBERS = tuple(WORDS)
_NUMBER_OF = {word: number for number, word in WORDS.items()}


# Letter classes instead of a flag for case, on which engines disagree outside ASCII: Python takes
# the long s of "ſix" for an s, and the dotted I of "fİve" for an i.
def _any_case(words: Iterable[str]) -> str:
    return "|".join("".join(f"[{c}{c.upper()}]" for c in word) for word in words)


PATTERN = rf"\b(?:{_any_case(WORDS.values())})\b"
# The same for Python's re, which finds a letter of a set quickly and a word boundary slowly: the
# first letter of any word, not inside a word, and the rest of any word. `_NUMBER_OF` then drops
# false combinations ("fen").
_FIRST = "".join(sorted({word[0] for word in WORDS.values()}))
_REST = _any_case(word[1:] for word in WORDS.values())
_FIND = re.compile(rf"[{_FIRST}{_FIRST.upper()}](?<!\w\w)(?:{_REST})\b")


class NumberWord(NamedTuple):
    """A number word and its character span in the caption."""

    number: int
    start: int
    end: int


def find(caption: str) -> list[NumberWord]:
    """All number words of a caption, from left to right."""
    return [NumberWord(*word) for word in _find(caption)]


def _find(text: str) -> list[tuple[int, int, int]]:
    """(number, start, end) of each number word."""
    return [
        (number, match.start(), match.end())
        for match in _FIND.finditer(text)
        if (number := _NUMBER_OF.get(match[0].lower()))
    ]


class NumberWords(NamedTuple):
    """The number words of many captions: arrays `(n,)`, an entry a word, in order."""

    row: np.ndarray  # which caption
    number: np.ndarray
    start: np.ndarray  # span in characters
    end: np.ndarray


def may_name(captions: pa.Array) -> np.ndarray:
    """Indices `(n,)`, ascending, of the captions that may have a number word, by RE2.

    RE2's `\\b` knows only ASCII, so it finds all such rows and a few others ("Bachblüten"), which
    `find_all` then drops. The column may hold bytes that are not UTF-8.
    """
    import numpy as np
    import pyarrow.compute as pc

    rows = pc.indices_nonzero(pc.match_substring_regex(captions, PATTERN))
    return rows.to_numpy().astype(np.int64)


def find_all(captions: list[str]) -> NumberWords:
    """All number words of all captions, as `find` gives them for one."""
    import numpy as np

    lengths = np.array([len(caption) + 1 for caption in captions], np.int64)
    begins = np.cumsum(lengths) - lengths
    # One pass over the joined text; the line break between two captions is a word boundary too.
    number, start, end = np.array(_find("\n".join(captions)), np.int64).reshape(-1, 3).T
    row = np.searchsorted(begins, start, side="right") - 1
    return NumberWords(row, number, start - begins[row], end - begins[row])


def label_all(
    words: NumberWords, several: Literal["largest", "only_one"] = "largest"
) -> np.ndarray:
    """Which number words say how many their caption counts: indices into `words`, one a caption.

    Of several number words in a caption `largest` takes the largest, as the paper's authors did,
    and the first of equals; `only_one` leaves such captions out.
    """
    import numpy as np

    if several not in ("largest", "only_one"):
        raise ValueError(f"several: {several!r} is neither 'largest' nor 'only_one'")
    order = np.lexsort((words.start, -words.number, words.row))
    _, first, count = np.unique(words.row[order], return_index=True, return_counts=True)
    return order[first if several == "largest" else first[count == 1]]


def label(caption: str, several: Literal["largest", "only_one"] = "largest") -> NumberWord | None:
    """The number word that labels a caption, or None (`label_all` for one caption)."""
    words = find(caption)
    chosen = label_all(find_all([caption]), several)
    return words[chosen[0]] if len(chosen) else None


def word_for(caption: str, number: int) -> NumberWord:
    """The first number word of a caption that equals `number`; ValueError if there is none."""
    for word in find(caption):
        if word.number == number:
            return word
    raise ValueError(f"caption {caption[:200]!r} does not name {number} as a whole word")


def per_class(numbers: Any) -> dict[str, int]:
    """How often each number of two to ten occurs."""
    found = Counter(numbers)
    return {str(number): found[number] for number in NUMBERS}
