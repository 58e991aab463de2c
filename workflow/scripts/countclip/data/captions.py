"""Editing of captions: another number word, a template, truncation to a model's context."""

import re
from collections.abc import Callable

from countclip.data.number_words import NUMBERS, WORDS, NumberWord, find, word_for


def replace(caption: str, word: NumberWord, number: int, everywhere: bool = False) -> str:
    """Replace `word` by `number` in a caption, in the same case: two, Two, TWO.

    Exactly one word changes, or all words of the same number with `everywhere`.
    """
    return replace_by(caption, word, WORDS[number], everywhere)


def replace_by(caption: str, word: NumberWord, text: str, everywhere: bool = False) -> str:
    """Replace `word` by any text in lower case, as `replace` does: a few, A few, A FEW."""
    words = [w for w in find(caption) if w.number == word.number] if everywhere else [word]
    for start, end in sorted(((w.start, w.end) for w in words), reverse=True):
        caption = caption[:start] + _in_case_of(caption[start:end], text) + caption[end:]
    return caption


def _in_case_of(word: str, text: str) -> str:
    if word.isupper():
        return text.upper()
    return text[0].upper() + text[1:] if word[0].isupper() else text


def from_noun(template: str, noun: str, number: int) -> str:
    """Fill in a template such as `{number} {noun}`: "three dogs".

    ValueError for a template with another number word before {number}, which would be found first.
    """
    if find(template.partition("{number}")[0]):
        raise ValueError(f"caption: {template!r} must name no other number before {{number}}")
    return template.format(number=WORDS[number], noun=noun)


def fill(caption: str) -> tuple[str, int]:
    """A user's caption with one number word that counts, and its number.

    `{}` is replaced by a number word that the caption does not have yet. Without `{}` the caption
    is returned unchanged if it has exactly one number word. ValueError if the word is ambiguous.
    """
    numbers = [word.number for word in find(caption)]
    if caption.count("{}") == 1 and (unused := [n for n in NUMBERS if n not in numbers]):
        filled = caption.replace("{}", WORDS[unused[0]])
        word_for(filled, unused[0])  # fails for "a{}b"
        return filled, unused[0]
    if "{}" not in caption and len(numbers) == 1:
        return caption, numbers[0]
    raise ValueError(
        f"caption {caption[:200]!r}: write {{}} once, in place of the number, as in"
        ' "a photo of {} dogs"'
    )


def with_each_number(caption: str, number: int, everywhere: bool = False) -> list[str]:
    """Nine captions, one for each number: the one at index i names i + 2.

    They differ only in the first word of `number`, or in all such words with `everywhere`. Other
    number words stay: "two boxes of ten pens".
    """
    word = word_for(caption, number)
    return [replace(caption, word, other, everywhere) for other in NUMBERS]


def truncate(
    caption: str, number: int | None, encode: Callable[[str], list[int]], limit: int
) -> str:
    """Shorten a caption at its head if truncation would cut off its number word.

    encode: text -> tokens without the special ones, of which a model reads the first `limit`.
    Leading words are dropped until the number word is among these, with up to a quarter of the
    limit left for the text behind it, which mostly says what is counted ("two dogs").
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
