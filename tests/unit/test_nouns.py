"""Captions name a class by a whole noun that stands for itself."""

from pathlib import Path

import pytest

from countclip.data.nouns import Nouns
from countclip.runtime.resources import resource
from miniature.scenes import CLASSES

NAMES = (
    "person", "dog", "cat", "hot dog", "dining table", "teddy bear", "bear", "wine glass", "cup",
    "sheep", "skis", "bus",
)  # fmt: skip


@pytest.fixture(scope="module")
def coco() -> Nouns:
    return Nouns(resource("resources/coco_nouns.csv"), dict(enumerate(NAMES)))


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("five dogs and a cat", {"dog", "cat"}),
        ("Five DOGS!", {"dog"}),
        ("Dog-sized bowls for seven", set()),
        ("ten-dog night", set()),
        ("a five-person tent", set()),
        ("three hotdogs, two hot dogs", {"hot dog"}),
        ("two hot-dogs and a dog", {"hot dog", "dog"}),
        ("Two dining\u00a0 tables", {"dining table"}),
        ("two tables", {"dining table"}),
        ("six Teddy-Bears", {"teddy bear"}),
        ("four bears", {"bear"}),
        ("forbearance, beard, dogma, category, cats_eye", set()),
        ("men's shoes, ten sizes; the dog\u2019s two toys", set()),
        ("the dogs' two toys", {"dog"}),
        ("two glasses of wine", {"wine glass", "cup"}),
        ("three women, two kids", {"person"}),
        ("two sheep", {"sheep"}),
        ("(buses)", {"bus"}),
        ("two dogs - isolated", {"dog"}),
        ("", set()),
    ],
)
def test_what_a_caption_names(coco: Nouns, caption: str, named: set[str]) -> None:
    assert {NAMES[number] for number in coco(caption)} == named


@pytest.mark.parametrize(
    ("caption", "counted"),
    [
        ("three dogs with two cats", {"dog"}),
        ("Dog: three cats", {"cat"}),
        ("a dog and three of something", set()),
        ("İ three-dog night", set()),  # longer once its case is folded
        ("İİİ three dogs", {"dog"}),
        ("three of my Teddy-Bears, and a dog", {"teddy bear"}),
    ],
)
def test_what_a_number_word_counts(coco: Nouns, caption: str, counted: set[str]) -> None:
    end = caption.index("three") + len("three")
    assert {NAMES[number] for number in coco.first(caption, end)} == counted


def test_a_class_without_a_line_is_named(tmp_path: Path) -> None:
    table = tmp_path / "nouns.csv"
    table.write_text("class,nouns\ndog,dogs\n", encoding="utf-8")
    assert Nouns(table, {0: "dog"})("two dogs") == {0}
    with pytest.raises(ValueError, match="nouns.csv: no line for axe, lynx, which"):
        Nouns(table, {0: "dog", 1: "lynx", 2: "axe"})


def test_the_miniatures_table_has_its_classes() -> None:
    nouns = Nouns(resource("resources/miniature/nouns.csv"), dict(enumerate(CLASSES)))
    assert nouns("two red crosses and a FLAG") == {CLASSES.index("cross"), CLASSES.index("flag")}
