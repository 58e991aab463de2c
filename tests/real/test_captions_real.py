"""The caption code on 30,787 real rows of LAION-400M and on CountBench itself."""

import json
import re
from pathlib import Path

import open_clip
import pyarrow.parquet as pq
import pytest

from countclip.data import captions, filtering, number_words

SEVERAL = {
    21, 42, 67, 73, 106, 108, 130, 132, 165, 173, 200, 273, 286, 377, 427, 470, 496, 499, 504, 510,
    513,
}  # fmt: skip
NUMBER = {word: number for number, word in number_words.WORDS.items()}
PLAIN = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def countbench(shared: Path) -> list[dict]:
    return json.loads((shared / "countbench/CountBench.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def encode():
    return open_clip.get_tokenizer("ViT-B-32").encode


@pytest.mark.parametrize(
    ("name", "rows"), [("laion400m_rows", 20_787), ("img2dataset_test_10000", 10_000)]
)
def test_rows_selected_are_those_of_plain_re(
    shared: Path, tmp_path: Path, name: str, rows: int
) -> None:
    path = shared / f"laion/{name}.parquet"
    texts = pq.read_table(path, columns=["TEXT"])["TEXT"].combine_chunks()
    assert len(texts) == rows
    expected = [
        (i, [(m[0].lower(), *m.span()) for m in found])
        for i, text in enumerate(texts.to_pylist())
        if (found := list(PLAIN.finditer(text or "")))
    ]
    spans = [[list(w) for w in number_words.find(text or "")] for text in texts.to_pylist()]
    assert [[(number_words.WORDS[n], *span) for n, *span in found] for found in spans if found] == [
        found for _, found in expected
    ]
    urls = pq.read_table(path, columns=["URL"])["URL"].to_pylist()
    assert all(url and url.strip() for url in urls)
    for several in ("largest", "only_one"):
        filtering.filter_part(
            part=path, candidates=tmp_path / "c.parquet", counts=tmp_path / "c.json",
            state=tmp_path, threads=2,
            several=several, non_counting_ratio=0.5, seed=0,
            nsfw_drop=["NSFW"], similarity_min=None, min_side=None,
        )  # fmt: skip
        candidates = pq.read_table(tmp_path / "c.parquet").to_pylist()
        reasons = json.loads((tmp_path / "c.json").read_text())["reasons"]
        assert sum(reasons.values()) == rows
        wanted = [(i, f) for i, f in expected if several == "largest" or len(f) == 1]
        counting = [row for row in candidates if row["number"] is not None]
        assert [(row["url"], row["caption"]) for row in counting] == [
            (urls[i], texts[i].as_py()) for i, _ in wanted
        ]
        assert reasons["several_numbers"] == len(expected) - len(wanted)
        assert len(candidates) - len(counting) == reasons["non_counting"] > 0
        for row in candidates:
            plain = [(m[0].lower(), *m.span()) for m in PLAIN.finditer(row["caption"])]
            assert [
                (number_words.WORDS[w["number"]], w["start"], w["end"]) for w in row["words"]
            ] == (plain)
            if row["number"] is not None:
                largest = max(plain, key=lambda w: NUMBER[w[0]])
                assert (row["number"], row["number_start"], row["number_end"]) == (
                    NUMBER[largest[0]],
                    *largest[1:],
                )


def test_rows_of_the_authors_counting_list(shared: Path) -> None:
    table = pq.read_table(shared / "laion/laion400m_rows.parquet").to_pylist()
    counting = [row["TEXT"] for row in table if row["source_file"] == "counting"]
    assert len(counting) > 2_000
    for text in counting:
        word = number_words.label(text)
        assert word is not None, text
        nine = captions.with_each_number(text, word.number)
        assert nine[word.number - 2] == text
        assert len(set(nine)) == 9
        outside = {(c[: word.start], c[len(c) - len(text) + word.end :]) for c in nine}
        assert outside == {(text[: word.start], text[word.end :])}


def test_every_caption_of_countbench_has_its_word(countbench: list[dict]) -> None:
    assert len(countbench) == 540
    for row in countbench:
        word = number_words.word_for(row["text"], row["number"])
        assert row["text"][word.start : word.end].lower() == number_words.WORDS[row["number"]]


def test_captions_with_several_words_replace_the_right_one(countbench: list[dict]) -> None:
    several = {
        i
        for i, row in enumerate(countbench)
        if len({word.number for word in number_words.find(row["text"])}) > 1
    }
    assert several == SEVERAL
    wrong_by_largest = set()
    for i in several:
        text, number = countbench[i]["text"], countbench[i]["number"]
        word = number_words.word_for(text, number)
        assert word.number == number
        for other, caption in zip(
            number_words.NUMBERS, captions.with_each_number(text, number), strict=True
        ):
            replaced = caption[word.start : word.start + len(number_words.WORDS[other])]
            assert replaced.lower() == number_words.WORDS[other]
            assert caption == text[: word.start] + replaced + text[word.end :]
        if number_words.label(text).number != number:
            wrong_by_largest.add(i)
    assert wrong_by_largest == {173, 273, 470}


def test_a_number_written_twice_is_replaced_once_or_everywhere(countbench: list[dict]) -> None:
    twice = []
    for i, row in enumerate(countbench):
        text, number = row["text"], row["number"]
        words = [word for word in number_words.find(text) if word.number == number]
        once, everywhere = (
            captions.with_each_number(text, number),
            captions.with_each_number(text, number, True),
        )
        for other, one, all_of_it in zip(number_words.NUMBERS, once, everywhere, strict=True):
            if other != number:
                kept = sum(word.number == number for word in number_words.find(one))
                assert kept == len(words) - 1
                assert all(word.number != number for word in number_words.find(all_of_it))
        assert (once == everywhere) == (len(words) == 1)
        if len(words) > 1:
            twice.append(i)
    assert len(twice) == 16
    assert 316 in twice


def test_a_hyphenated_number_that_is_not_counted_stays(countbench: list[dict]) -> None:
    for everywhere in (False, True):
        for text in captions.with_each_number(countbench[273]["text"], 2, everywhere):
            assert text.startswith("Nine-month-old Jasmine and her ")
    chairs = countbench[316]["text"]
    assert "set of six\xa0" in captions.with_each_number(chairs, 4)[4]
    assert "'Four-corners-exposed" in captions.with_each_number(chairs, 4)[4]
    assert "'Six-corners-exposed" in captions.with_each_number(chairs, 4, everywhere=True)[4]


def test_nine_distinct_candidates_within_77_tokens(countbench: list[dict], encode) -> None:
    limit = 77 - 2
    lost, shortened = set(), set()
    for i, row in enumerate(countbench):
        text, number = row["text"], row["number"]
        if len({tuple(encode(c)[:limit]) for c in captions.with_each_number(text, number)}) < 9:
            lost.add(i)
        fitted = captions.truncate(text, number, encode, limit)
        nine = captions.with_each_number(fitted, number)
        assert len({tuple(encode(c)[:limit]) for c in nine}) == 9, i
        if fitted != text:
            shortened.add(i)
            assert text.endswith(fitted)
            assert len(fitted) - number_words.word_for(fitted, number).end >= 3  # what is counted
    assert lost == {103}
    assert shortened == {103}


def test_fit_keeps_the_word_of_every_training_caption(shared: Path, encode) -> None:
    table = pq.read_table(shared / "laion/laion400m_rows.parquet", columns=["TEXT"])
    limit, lost = 75, 0
    for text in table["TEXT"].to_pylist():
        if (word := number_words.label(text)) is None:
            continue
        fitted = captions.truncate(text, word.number, encode, limit)
        end = number_words.word_for(fitted, word.number).end
        assert len(encode(fitted[:end])) <= limit
        lost += fitted != text
    assert lost == 24
