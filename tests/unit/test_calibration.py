"""Tiles, and how often a detector counts right at each setting: against counts by hand."""

import csv
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.data import calibration as data_calibration
from countclip.data.detector import (
    Detection,
    Detector,
    Prepared,
    tiles_of,
    uncut,
    without_doubles,
)
from countclip.report import calibration
from countclip.report.statistics import wilson
from countclip.runtime.resources import HOME
from miniature import scenes

WEIGHTS = HOME / "resources/miniature/detector/yolov8.onnx"
NOUNS = HOME / "resources/miniature/nouns.csv"
SETTINGS = {"image_size": 128, "max_detections": 300}


# ---- tiles ----


@pytest.mark.parametrize(("width", "height", "n"), [(640, 480, 2), (101, 77, 3), (3, 2, 4)])
def test_tiles_cover_an_image_and_overlap(width, height, n):
    seen = np.zeros((height, width), int)
    tiles = tiles_of(width, height, n)
    for x0, y0, x1, y1 in tiles:
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        seen[y0:y1, x0:x1] += 1
    assert len(tiles) == n * n
    assert seen.min() >= 1
    if width > 100:
        assert seen.max() == 4
        assert len({(x1 - x0) / width for x0, _, x1, _ in tiles}) <= 2
    assert tiles_of(width, height, 1) == []


def test_what_the_border_of_a_tile_cuts_is_left_to_the_others():
    """The right lower tile of an image of 200 x 100."""
    tile = Prepared(np.zeros((1, 1, 3), np.uint8), (56, 111), (89, 44))
    boxes = [[0, 10, 20, 30], [50, 0.3, 60, 20], [5, 5, 20, 20], [90, 40, 111, 56]]
    found = uncut(Detection([1, 1, 2, 3], [0.9, 0.8, 0.7, 0.6], boxes), tile, (100, 200))
    assert found.class_id == [2, 3]  # the image's own border cuts nothing
    assert found.box == [[94, 49, 109, 64], [179, 84, 200, 100]]
    assert uncut(Detection([], [], []), tile, (100, 200)) == Detection([], [], [])


def test_one_object_in_several_views_counts_once():
    whole = Detection([1, 2], [0.5, 0.9], [[0, 0, 10, 10], [0, 0, 10, 10]])
    tile = Detection([1, 1], [0.8, 0.7], [[1, 0, 11, 10], [30, 0, 40, 10]])
    merged = without_doubles([whole, tile], 0.5, most=300)
    assert merged.class_id == [2, 1, 1]
    assert merged.score == [0.9, 0.8, 0.7]
    assert merged.box[1] == [1, 0, 11, 10]
    assert without_doubles([whole, tile], 0.9, most=300).class_id == [2, 1, 1, 1]
    assert without_doubles([whole, tile], 0.5, most=1).class_id == [2]
    assert without_doubles([Detection([], [], [])], 0.5, most=9) == Detection([], [], [])


def scene(index: int, number: int) -> Image.Image:
    return scenes.draw(scenes.make("detector_test", index, number))


def test_tiles_find_what_is_small_in_the_whole_image():
    """Four scenes side by side are one image; each is as large in a tile as alone, nearly."""
    side = scene(0, 2).width
    sheet = Image.new("RGB", (2 * side, 2 * side), "white")
    for i, (x, y) in enumerate(itertools.product((0, side), repeat=2)):
        sheet.paste(scene(i, 2), (x, y))
    more = {"confidence_floor": 0.25, "iou": 0.5}
    found = {}
    for n in (1, 2):
        detector = Detector(WEIGHTS, **SETTINGS, **more, tiles=n)
        (found[n],) = detector([detector.prepare(sheet)])
    assert len(found[2].class_id) > len(found[1].class_id)
    for x1, y1, x2, y2 in found[2].box:
        assert -2 <= x1 < x2 <= 2 * side + 2
        assert -2 <= y1 < y2 <= 2 * side + 2
    assert found[2].score == sorted(found[2].score, reverse=True)


def test_several_ious_of_one_run_are_those_of_single_runs():
    pictures = [scene(i, 2 + i % 9) for i in range(12)]
    for n in (1, 2):
        one = Detector(WEIGHTS, **SETTINGS, confidence_floor=0.1, iou=0.3, tiles=n)
        prepared = [one.prepare(picture) for picture in pictures]
        at = one.at(prepared, [0.3, 0.7])
        for place, iou in enumerate((0.3, 0.7)):
            alone = Detector(WEIGHTS, **SETTINGS, confidence_floor=0.1, iou=iou, tiles=n)
            assert [each[place] for each in at] == alone(prepared)


# ---- the table ----


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pd.DataFrame:
    """Scenes of the miniature with their counts, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("calibration")
    (folder / "images").mkdir()
    lines = [("image", "noun", "number"), ("gone.png", "stars", 2), ("0.png", "stars", "")]
    for i in range(18):
        number = 2 + i % 3
        made = scenes.make("detector_test", i, number)
        scenes.draw(made).save(folder / f"images/{i}.png")
        lines.append((f"{i}.png", scenes.plural(made.name), number))
    with open(folder / "counted.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    data_calibration.detect_in_counted(
        folder / "counted.csv", folder / "images", folder / "found.parquet", weights=WEIGHTS,
        tiles=[1, 2], iou=[0.5, 0.7], confidence_floor=0.1, follow_links=False, batch=4,
        device="cpu", threads=1, precision="f32", sha256=None, **SETTINGS,
    )  # fmt: skip
    configured = {"tiles": 1, "iou": 0.7, "confidence": 0.25, "rule": "most_frequent"}
    calibration.make_calibration(
        folder / "found.parquet", str(folder / "calibration.csv"), nouns_csv=str(NOUNS),
        confidence=[0.1, 0.25, 0.995], rules=["most_frequent", "caption_noun", "any"],
        configured=configured, scale="miniature",
    )  # fmt: skip
    metadata = pq.read_schema(folder / "found.parquet").metadata
    assert metadata[b"left_out"] == b"1"
    return pd.read_csv(folder / "calibration.csv")


def test_every_setting_has_a_line_for_all_numbers_and_for_each(table):
    assert list(table.columns) == calibration.COLUMNS
    assert len(table) == 2 * 2 * 3 * 3 * 4
    assert Counter(table["number"]) == {"all": 36, "2": 36, "3": 36, "4": 36}
    everything = table[table["number"] == "all"]
    assert set(everything["n"]) == {18}
    assert set(table[table["number"] == "3"]["n"]) == {6}
    assert set(table["named"]) == {100.0}
    marked = table[table["configured"]]
    assert len(marked) == 4
    assert set(marked["rule"]) == {"most_frequent"}
    keys = calibration.SETTINGS
    each = table[table["number"] != "all"].groupby(keys)[["exact", "mae", "wrong"]].mean()
    whole = everything.set_index(keys)[["exact", "mae", "wrong"]]
    pd.testing.assert_frame_equal(each, whole.loc[each.index])  # six images of each number
    assert (table["exact_low"] <= table["exact"] + 1e-9).all()
    assert (table["exact"] <= table["exact_high"] + 1e-9).all()
    assert (table["mae_low"] <= table["mae"] + 1e-9).all()


def test_the_miniatures_detector_counts_its_scenes(table):
    row = table.query("number == 'all' and tiles == 1 and iou == 0.7 and confidence == 0.25")
    exact = row.set_index("rule")["exact"]
    assert exact["most_frequent"] > 60
    assert exact["any"] >= exact["most_frequent"]
    strict = table.query("number == 'all' and tiles == 1 and iou == 0.7 and confidence == 0.995")
    assert strict.set_index("rule")["exact"]["most_frequent"] < exact["most_frequent"]


FOUND = pd.DataFrame(
    {
        "number": [2, 3, 5],
        "text": ["cats", "dogs", "a cat, and five dogs"],
        "class_id": [[0, 0, 1, 1, 1], [1, 1, 0], []],
        "score": [[0.9, 0.8, 0.7, 0.6, 0.3], [0.9, 0.5, 0.4], []],
        "tiles": 1,
        "iou": 0.5,
    }
)


def test_figures_are_those_of_counts_by_hand(tmp_path):
    """Cats are class 0, dogs class 1. At 0.5 the first image has two cats and two dogs."""
    nouns = tmp_path / "nouns.csv"
    nouns.write_text("class,nouns\ncat,cats\ndog,dogs\n", encoding="utf-8")
    table = calibration.calibration(
        FOUND, {0: "cat", 1: "dog"}, str(nouns), confidence=[0.3, 0.5],
        rules=["most_frequent", "caption_noun", "any"], scale="paper",
        configured={"tiles": 1, "iou": 0.5, "confidence": 0.5, "rule": "any"},
    )  # fmt: skip
    lines = table[table["number"] == "all"].set_index(["confidence", "rule"])
    # Absolute errors of the three images; then of their eight other numbers those accepted.
    expected = {
        (0.3, "most_frequent"): (0, [1, 1, 5], [1, 1, 0]),
        (0.3, "caption_noun"): (1, [0, 1, 5], [0, 1, 0]),
        (0.3, "any"): (1, [0, 1, 5], [1, 1, 0]),
        (0.5, "most_frequent"): (1, [0, 1, 5], [0, 1, 0]),
        (0.5, "caption_noun"): (1, [0, 1, 5], [0, 1, 0]),
        (0.5, "any"): (1, [0, 1, 5], [0, 1, 0]),
    }
    for setting, (exact, errors, wrong) in expected.items():
        line = lines.loc[setting]
        assert line["exact"] == pytest.approx(100 * exact / 3), setting
        assert line["mae"] == pytest.approx(np.mean(errors)), setting
        assert line["wrong"] == pytest.approx(100 * sum(wrong) / 8 / 3), setting
        low, high = wilson(exact / 3, 3)
        assert (line["exact_low"], line["exact_high"]) == pytest.approx((100 * low, 100 * high))
    assert lines["named"].tolist() == [100.0] * 6
    assert table.loc[table["configured"], "rule"].unique().tolist() == ["any"]
    assert table.loc[table["number"] == 5, "mae_low"].tolist() == [5.0] * 6


def test_a_calibration_without_a_readable_image_says_where_it_looked(tmp_path):
    table = tmp_path / "counted.csv"
    table.write_text("image,noun,number\na.png,stars,3\nb.png,stars,\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"none of 1 counted images.*calibration.images"):
        data_calibration.detect_in_counted(
            table, tmp_path, tmp_path / "found.parquet", weights=WEIGHTS, tiles=[1], iou=[0.5],
            confidence_floor=0.1, follow_links=False, batch=4, device="cpu", threads=1, **SETTINGS,
        )  # fmt: skip
    assert not Path(tmp_path / "found.parquet").exists()
