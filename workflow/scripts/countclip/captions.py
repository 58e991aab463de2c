"""Where does a caption name a number, and how does it read with another one?

The only module of the project that knows a number word. A number word is one of "two" to "ten" as
a whole word (Python's Unicode `\\b`), in any case: not "often", "Seventy" or "Bachblüten", but the
"three" of "three-pack".
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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

# Spelled-out letter classes instead of a flag for case: engines disagree on what "any case" is
# outside ASCII (Python takes the long s of "ſix" for an s, and the dotted I of "fİve" for an i).
_ANY_CASE = "|".join("".join(f"[{c}{c.upper()}]" for c in word) for word in WORDS.values())
PATTERN = rf"\b(?:{_ANY_CASE})\b"
_FIND = re.compile(PATTERN)


class NumberWord(NamedTuple):
    """A number word and its character span in the caption."""

    number: int
    start: int
    end: int


def find(caption: str) -> list[NumberWord]:
    """All number words of a caption, from left to right."""
    return [NumberWord(_NUMBER_OF[m[0].lower()], *m.span()) for m in _FIND.finditer(caption)]


def find_all(captions: pa.Array) -> tuple[np.ndarray, list[list[NumberWord]]]:
    """Rows of a string column that have a number word, `(n,)`, and their number words.

    Selects exactly the rows that `find` selects, at the speed of RE2. RE2's `\\b` knows only
    ASCII, so it finds every row wanted and a few more ("Bachblüten"), which `find` then drops.
    """
    rows = np.flatnonzero(pc.match_substring_regex(captions, PATTERN).fill_null(False))
    found = [find(caption) for caption in captions.take(pa.array(rows)).to_pylist()]
    return rows[[bool(words) for words in found]], [words for words in found if words]


def label(
    words: str | list[NumberWord], several: Literal["largest", "only_one"] = "largest"
) -> NumberWord | None:
    """The number word that says how many a caption (or its number words) counts, if any.

    With several number words `largest` takes the largest, as the paper's authors did, and the
    first of equals; `only_one` takes none of them.
    """
    words = find(words) if isinstance(words, str) else words
    if several not in ("largest", "only_one"):
        raise ValueError(f"several: {several!r} is neither 'largest' nor 'only_one'")
    if not words or (several == "only_one" and len(words) > 1):
        return None
    return max(words, key=lambda word: word.number)


def word_for(caption: str, number: int) -> NumberWord:
    """The first number word of a caption that equals `number`; ValueError if there is none."""
    for word in find(caption):
        if word.number == number:
            return word
    raise ValueError(f"caption {caption[:200]!r} does not name {number} as a whole word")


def replace(caption: str, word: NumberWord, number: int, everywhere: bool = False) -> str:
    """The caption with `word` replaced by `number`, in the same case: two, Two, TWO.

    Exactly one word changes, unless `everywhere`: then all words that name the same number do.
    """
    words = [w for w in find(caption) if w.number == word.number] if everywhere else [word]
    for start, end in sorted(((w.start, w.end) for w in words), reverse=True):
        caption = caption[:start] + _in_case_of(caption[start:end], number) + caption[end:]
    return caption


def _in_case_of(text: str, number: int) -> str:
    if text.isupper():
        return WORDS[number].upper()
    return WORDS[number].title() if text[0].isupper() else WORDS[number]


def candidates(caption: str, number: int) -> list[str]:
    """Nine captions that differ in the word equal to `number` alone; index i names i + 2."""
    word = word_for(caption, number)
    return [replace(caption, word, other) for other in NUMBERS]


def fit(caption: str, number: int | None, encode: Callable[[str], list[int]], limit: int) -> str:
    """The caption, shortened at its head if its number word would not survive truncation.

    `encode` gives the tokens of a text without the special ones, of which a model reads the first
    `limit`. Leading words go until the number word is among these, with up to a quarter of the
    limit left for what follows it: what is counted mostly stands there ("two dogs").
    """
    if number is None:
        return caption
    word = word_for(caption, number)
    if len(encode(caption[: word.end])) <= limit:
        return caption
    room = limit - min(limit // 4, len(encode(caption[word.end : word.end + 8 * limit])))
    starts = [m.start() for m in re.finditer(r"\S+", caption[: word.start])] + [word.start]
    low, high = 0, len(starts) - 1  # fewer leading words, fewer tokens: bisect for the first fit
    while low < high:
        middle = (low + high) // 2
        if len(encode(caption[starts[middle] : word.end])) <= room:
            high = middle
        else:
            low = middle + 1
    return caption[starts[low] :]
