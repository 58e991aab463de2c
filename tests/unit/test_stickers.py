"""The miniature's pretraining set: what is drawn, what captions say of it, and how rare it is."""

import io
import re
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from countclip.data.objects import Objects
from countclip.experiments.soft_labels.domains import read_descriptions
from miniature import sticker_nets, stickers
from miniature.scenes import COLOURS, STREAMS

NUMBER = 1500


@pytest.fixture(scope="module")
def drawn():
    """Sheets and captions of the first pairs."""
    return [stickers.pair("stickers", index) for index in range(NUMBER)]


def named(caption: str) -> set[str]:
    return set(re.findall(r"\w+", caption)) & set(stickers.KINDS)


def make(folder, **settings):
    stickers.make(
        pair_folder=folder / "pairs", test_folder=folder / "test", digests=folder / "digests.tsv",
        **settings,
    )  # fmt: skip
    return (folder / "digests.tsv").read_text(encoding="utf-8").splitlines()


def test_the_set_is_made_the_same_again_and_a_longer_one_begins_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(stickers, "SHARD", 10)
    monkeypatch.setattr(stickers, "PER_KIND", 2)
    first, again, longer = (make(tmp_path / name, pairs=n) for name, n in
                            (("a", 25), ("b", 25), ("c", 30)))  # fmt: skip
    assert first == again
    assert len(first) == 3 + 60 * stickers.PER_KIND
    assert set(first) - set(longer) == {
        line for line in first if line.startswith("pairs/00002.tar")
    }
    with tarfile.open(tmp_path / "a/pairs/00002.tar") as tar:
        assert tar.getnames() == [
            f"0000{n}.{kind}" for n in range(20, 25) for kind in ("jpg", "txt")
        ]
        body = tar.extractfile("000024.jpg").read()
        text = tar.extractfile("000024.txt").read().decode()
    sheet, caption = stickers.pair("stickers", 24)
    assert text == caption
    stored = np.asarray(Image.open(io.BytesIO(body)), int)
    assert np.abs(stored - np.asarray(stickers.draw(sheet), int)).mean() < 3  # it is a JPEG


def test_the_parser_finds_every_kind_that_a_caption_names(drawn):
    objects = Objects()
    for kind in stickers.KINDS:
        assert objects(f"a {kind}") == {kind}
    assert all(named(caption) <= objects(caption) for _, caption in drawn)
    others = Counter(name for _, caption in drawn for name in objects(caption) - named(caption))
    assert set(others) == {"paper", "sheet", "kitchen", "wall", "card", "poster",
                           "nursery", "shirt"}  # fmt: skip


def test_captions_leave_out_some_of_what_is_there_and_name_nothing_else(drawn):
    shown = [{one.kind for one in sheet.stickers} for sheet, _ in drawn]
    said = [named(caption) for _, caption in drawn]
    assert all(one and one <= there for one, there in zip(said, shown, strict=True))
    share = sum(map(len, said)) / sum(map(len, shown))
    assert 0.7 < share < 0.8  # 0.7, and one where that leaves none
    assert [len(there) for there in shown[:8]] != [len(one) for one in said[:8]]


def test_a_kind_is_as_frequent_as_its_rank_says(drawn):
    counts = Counter(one.kind for sheet, _ in drawn for one in sheet.stickers)
    popular = stickers.by_popularity("stickers")
    assert sorted(popular) == sorted(stickers.KINDS)
    assert popular != stickers.by_popularity("development_stickers")
    thirds = [sum(counts[kind] for kind in popular[i : i + 20]) for i in (0, 20, 40)]
    assert thirds[0] > 3 * thirds[1] > 3 * thirds[2]
    assert counts[popular[0]] > 8 * max(counts[kind] for kind in popular[40:])


def test_stickers_lie_in_cells_of_their_own_and_kinds_look_different(drawn):
    for sheet, _ in drawn[:200]:
        cells = [tuple(place // stickers.CELL for place in one.corner) for one in sheet.stickers]
        assert len(set(cells)) == len(cells) <= 4
        for one, cell in zip(sheet.stickers, cells, strict=True):
            ends = np.add(one.corner, stickers.stencil(stickers.KINDS[one.kind], one.size).size)
            assert (ends <= stickers.CELL * np.add(cell, 1)).all()
    inks = {}
    for kind, glyph in stickers.KINDS.items():
        ink = Image.new("L", (15, 15))
        ink.paste(stickers.stencil(glyph, 15))
        inks[kind] = np.asarray(ink, int)
    differences = [
        np.abs(inks[one] - inks[other]).mean() for one in inks for other in inks if one < other
    ]
    assert min(differences) > 10  # of 255


def test_test_sheets_show_one_sticker_of_any_colour():
    sheets = [stickers.single("stickers", "anchor", index) for index in range(60)]
    assert {len(sheet.stickers) for sheet in sheets} == {1}
    assert {sheet.stickers[0].kind for sheet in sheets} == {"anchor"}
    assert {sheet.stickers[0].colour for sheet in sheets} == set(COLOURS)
    other = stickers.single("stickers", "star", 0).stickers[0]
    assert (other.corner, other.rgb) != (sheets[0].stickers[0].corner, sheets[0].stickers[0].rgb)
    assert STREAMS["stickers"] != STREAMS["development_stickers"]


def test_each_kind_has_a_description_that_names_no_kind():
    descriptions = read_descriptions(str(stickers.DESCRIPTIONS), stickers.KINDS)
    assert list(descriptions) == list(stickers.KINDS)
    assert len(set(descriptions.values())) == len(stickers.KINDS)
    assert not any(named(text) or Objects()(text) & set(stickers.KINDS)
                   for text in descriptions.values())  # fmt: skip


def test_the_committed_nets_are_those_of_their_recipe(tmp_path):
    sticker_nets.write(tmp_path)
    files = {file.name for file in tmp_path.iterdir()}
    committed = {file.name for file in sticker_nets.FOLDER.iterdir()}
    assert files == committed - {stickers.DESCRIPTIONS.name}
    for name in files:
        assert (tmp_path / name).read_bytes() == (sticker_nets.FOLDER / name).read_bytes()
