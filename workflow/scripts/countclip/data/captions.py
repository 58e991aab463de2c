"""Captions with another number word, from a noun, or cut to a model's context."""

import re
from collections.abc import Callable

from countclip.data.number_words import NUMBERS, WORDS, NumberWord, find, word_for


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


def with_each_number(caption: str, number: int, everywhere: bool = False) -> list[str]:
    """Nine captions that differ in the first word equal to `number` alone, or `everywhere` in all
    such words; index i names i + 2. Other number words stay: "two boxes of ten pens"."""
    word = word_for(caption, number)
    return [replace(caption, word, other, everywhere) for other in NUMBERS]


def truncate(
    caption: str, number: int | None, encode: Callable[[str], list[int]], limit: int
) -> str:
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
