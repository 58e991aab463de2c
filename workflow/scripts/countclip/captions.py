"""Where does a caption name a number, and how does it read with another one?

The only module of the project that knows a number word. A number word is one of "two" to "ten" as
a whole word (Python's Unicode `\\b`), in any case: not "often", "Seventy" or "Bachblüten", but the
"three" of "three-pack".
"""

import re
from collections.abc import Callable, Iterable
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
def _any_case(words: Iterable[str]) -> str:
    return "|".join("".join(f"[{c}{c.upper()}]" for c in word) for word in words)


PATTERN = rf"\b(?:{_any_case(WORDS.values())})\b"
# The same for Python's re, which goes quickly from one of a set of letters to the next, and slowly
# from one word boundary to the next: a first letter with no word before it, and the rest of any of
# the words. `_NUMBER_OF` leaves out what this makes up ("fen").
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


class Found(NamedTuple):
    """The number words of many captions, `(n,)` each: one entry a word, in the captions' order."""

    row: np.ndarray  # which caption
    number: np.ndarray
    start: np.ndarray  # span in characters
    end: np.ndarray


def may_name(captions: pa.Array) -> np.ndarray:
    """Which rows of a string column may have a number word, `(n,)`, in order, at RE2's speed.

    RE2's `\\b` knows only ASCII, so it finds every row wanted and a few more ("Bachblüten"), which
    `find_all` then drops. Bytes that are no UTF-8 do no harm.
    """
    rows = pc.indices_nonzero(pc.match_substring_regex(captions, PATTERN))
    return rows.to_numpy().astype(np.int64)


def find_all(captions: list[str]) -> Found:
    """All number words of all captions: what `find` finds in each."""
    lengths = np.array([len(caption) + 1 for caption in captions], np.int64)
    begins = np.cumsum(lengths) - lengths
    # One pass over the joined text; the line break between two captions is a word's boundary too.
    number, start, end = np.array(_find("\n".join(captions)), np.int64).reshape(-1, 3).T
    row = np.searchsorted(begins, start, side="right") - 1
    return Found(row, number, start - begins[row], end - begins[row])


def label_all(words: Found, several: Literal["largest", "only_one"] = "largest") -> np.ndarray:
    """Which number words say how many their caption counts: indices into `words`, one a caption.

    Of several number words in a caption `largest` takes the largest, as the paper's authors did,
    and the first of equals; `only_one` leaves such captions out.
    """
    if several not in ("largest", "only_one"):
        raise ValueError(f"several: {several!r} is neither 'largest' nor 'only_one'")
    order = np.lexsort((words.start, -words.number, words.row))
    _, first, count = np.unique(words.row[order], return_index=True, return_counts=True)
    return order[first if several == "largest" else first[count == 1]]


def label(caption: str, several: Literal["largest", "only_one"] = "largest") -> NumberWord | None:
    """The number word that says how many a caption counts, if any (`label_all` for one)."""
    words = find(caption)
    chosen = label_all(find_all([caption]), several)
    return words[chosen[0]] if len(chosen) else None


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


def from_noun(template: str, noun: str, number: int) -> str:
    """A caption of `number` things, as the template `{number} {noun}` has it: "three dogs".

    ValueError for a template that names a number before its own, which would be taken for it.
    """
    if find(template.partition("{number}")[0]):
        raise ValueError(f"caption: {template!r} must name no other number before {{number}}")
    return template.format(number=WORDS[number], noun=noun)


def fill(caption: str) -> tuple[str, int]:
    """A caption of a person's own with a number word where `{}` stands, or as it is if it has one
    number word and no `{}`; and that number, which the caption names nowhere else.

    ValueError where it is not clear which word counts.
    """
    others = [word.number for word in find(caption)]
    if caption.count("{}") == 1 and (free := [n for n in NUMBERS if n not in others]):
        filled = caption.replace("{}", WORDS[free[0]])
        word_for(filled, free[0])  # not "a{}b"
        return filled, free[0]
    if "{}" not in caption and len(others) == 1:
        return caption, others[0]
    raise ValueError(
        f"caption {caption[:200]!r}: write {{}} once, in place of the number, as in"
        ' "a photo of {} dogs"'
    )


def candidates(caption: str, number: int, everywhere: bool = False) -> list[str]:
    """Nine captions that differ in the first word equal to `number` alone, or `everywhere` in all
    such words; index i names i + 2. Other number words stay: "two boxes of ten pens"."""
    word = word_for(caption, number)
    return [replace(caption, word, other, everywhere) for other in NUMBERS]


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
