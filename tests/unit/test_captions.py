"""Number words: what counts as one, what a replacement changes, what survives truncation."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countclip.data import captions, number_words
from countclip.data.number_words import NumberWord

PLAIN = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten)\b", re.IGNORECASE)


@pytest.mark.parametrize(
    ("caption", "numbers"),
    [
        ("two dogs", [2]),
        ("TEN ways to SIX", [10, 6]),
        ("a three-pack of socks", [3]),
        ("Seventy kittens, often the fourth of nineteen", []),
        ("Bachblüten", []),
        ("two_cats and my_two", []),
        ("two²", []),
        ("zwei, zehn, tènten", []),
        ("(Four) five. six's", [4, 5, 6]),
        ("fİve ſix ſeven", []),
        ("🐶two🐶 <b>nine</b>&nbsp;", [2, 9]),
        ("", []),
        ("1 2 3", []),
    ],
)
def test_find_takes_whole_words_in_any_case(caption: str, numbers: list[int]) -> None:
    words = number_words.find(caption)
    assert [word.number for word in words] == numbers
    assert all(caption[w.start : w.end].lower() == number_words.WORDS[w.number] for w in words)


WILD = st.lists(
    st.one_of(
        st.sampled_from(
            [*number_words.WORDS.values(), "TWO", "Ten", "often", "ü", "_", "-", "²", " "]
        ),
        st.characters(codec="utf-8"),
        st.sampled_from(["\u0301", "\u200d", "\ufe0f", "\u203f", "½", "\n", "\x00", "\ufffd"]),
    ),
    max_size=12,
).map("".join)


@settings(deadline=None, derandomize=True)
@given(st.lists(WILD, max_size=20))
def test_find_all_selects_what_plain_re_selects(texts: list[str]) -> None:
    words = number_words.find_all(texts)
    expected = [(i, *word) for i, text in enumerate(texts) for word in number_words.find(text)]
    assert list(zip(*map(np.ndarray.tolist, words), strict=True)) == expected
    may = number_words.may_name(pa.array([*texts, None], pa.string()))
    assert set(words.row.tolist()) <= set(may.tolist())
    for several in ("largest", "only_one"):
        chosen = number_words.label_all(words, several)
        labels = {words.row[i]: number_words.NumberWord(*(v[i] for v in words[1:])) for i in chosen}
        assert [labels.get(i) for i in range(len(texts))] == [
            number_words.label(text, several) for text in texts
        ]
    ascii_case = [t for t in texts if not re.search("[ſıİ\u212a]", t)]
    for text in ascii_case:
        assert [m.span() for m in PLAIN.finditer(text)] == [w[1:] for w in number_words.find(text)]


def test_label_with_several_words() -> None:
    caption = "two cats, five dogs and Five birds"
    assert number_words.label(caption) == NumberWord(5, 10, 14)
    assert number_words.label(caption, "only_one") is None
    assert number_words.label("just two", "only_one") == NumberWord(2, 5, 8)
    assert number_words.label("none") is None
    with pytest.raises(ValueError, match="smallest"):
        number_words.label("two", "smallest")


@pytest.mark.parametrize(
    ("text", "expected"), [("two", "seven"), ("Two", "Seven"), ("TWO", "SEVEN"), ("tWo", "seven")]
)
def test_replace_keeps_case(text: str, expected: str) -> None:
    caption = f"often {text} of the seventwo Twofold two"
    word = number_words.word_for(caption, 2)
    assert captions.replace(caption, word, 7) == f"often {expected} of the seventwo Twofold two"


def test_replace_everywhere_keeps_the_case_of_each() -> None:
    word = number_words.word_for("Two by two, three TWO", 2)
    assert (
        captions.replace("Two by two, three TWO", word, 4, everywhere=True)
        == "Four by four, three FOUR"
    )


def test_word_for_takes_the_word_that_equals_the_number() -> None:
    caption = "ten pictures of Three cats and three dogs"
    assert number_words.word_for(caption, 3) == NumberWord(3, 16, 21)
    with pytest.raises(ValueError, match="'ten pictures.*does not name 4"):
        number_words.word_for(caption, 4)


def test_candidates_differ_in_one_word() -> None:
    nine = captions.with_each_number("ten photos: Four often-seen three-packs", 4)
    assert nine[2] == "ten photos: Four often-seen three-packs"
    assert nine[8] == "ten photos: Ten often-seen three-packs"
    assert len(set(nine)) == 9


def letters(text: str) -> list[int]:
    """A tokenizer with a token a word, except that a comma is one as well."""
    return [hash(token) for token in re.findall(r"\w+|,", text)]


@settings(deadline=None, derandomize=True)
@given(before=st.integers(0, 200), after=st.integers(0, 200), limit=st.integers(1, 75))
def test_fit_keeps_the_number_word(before: int, after: int, limit: int) -> None:
    caption = "often " * before + "Two" + ", dogs" * after
    fitted = captions.truncate(caption, 2, letters, limit)
    assert caption.endswith(fitted)
    word = number_words.word_for(fitted, 2)
    assert len(letters(fitted[: word.end])) <= limit
    if before + 1 <= limit:
        assert fitted == caption
    else:  # no more goes than has to
        kept_after = min(limit // 4, 2 * after)
        assert len(letters(fitted[: word.end])) == max(1, limit - kept_after)


def test_fit_without_number_or_space() -> None:
    assert captions.truncate("x " * 500, None, letters, 5) == "x " * 500
    assert captions.truncate("a," * 500 + "two dogs", 2, letters, 5) == "two dogs"
