"""From real photos with their captions to matched pairs: every stage between, on real parts.

What the photos show was counted by eye, one photo after the other.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from countclip.benchmarks import countbench
from countclip.data import counting_set, fetch, filtering, number_words
from countclip.data.detector import detect_objects
from countclip.runtime.connection import connection
from countclip.runtime.files import write_table
from countclip.runtime.resources import HOME

pytest.importorskip("openvino", reason="the real detector is an OpenVINO model")

HOST = "http://photos.miniature.example"
EITHER = "either"  # a score lies so near the threshold that another processor may decide otherwise


class Seen(NamedTuple):
    """A photo whose captions name a number: what there is to count, and what should become of it.

    most_frequent, caption_noun: the class by which each rule pairs the photo with a caption.
    """

    counted: str
    most_frequent: str | None
    caption_noun: str | None


SEEN = {
    "000000000872": Seen("two men, as the captions say", "person", "person"),
    "000000005001": Seen("two children among some twenty people", None, None),
    "000000006012": Seen("six bananas, as the caption says; detected are two", None, None),
    "000000006723": Seen("three lanes, which are no class; half a dozen cars", None, None),
    "000000006818": Seen("two buckets, which are no class; one toilet", None, None),
    # Captions of "two men": the rule pairs the photo with the two horses.
    "000000007281": Seen("two men on two horses, six or more people behind", None, "horse"),
    "000000007511": Seen("one kite on two strings; one man near, many far off", None, None),
    "000000007574": Seen("two sinks, as the caption says; more bottles", None, "sink"),
    "000000008690": Seen("two girls, as the captions say; a man behind", "person", "person"),
    # Right by luck: three bunches of many bananas are detected as two.
    "000000008844": Seen("one woman, two faces behind her, bunches of bananas", None, "banana"),
    # Wrong: the paper's rule takes two or three chairs for the caption's three walls.
    "000000010092": Seen("two chairs, one table, one bed; windows on three walls", EITHER, None),
    "000000010707": Seen("three men, as a caption says, and two couches", None, EITHER),
    "000000011149": Seen("two bicycles, as the caption says, and two people", EITHER, "person"),
    "000000011511": Seen("two women of bronze, as the captions say; four people", None, None),
    "000000012120": Seen("two players among a crowd", None, None),
}  # fmt: skip


def settings(section: str) -> dict:
    """A section of config/paper.yaml over the default's."""
    default, paper = (
        yaml.safe_load((HOME / f"config/{name}.yaml").read_text(encoding="utf-8"))[section]
        for name in ("config", "paper")
    )
    return {
        key: value | paper.get(key, {}) if isinstance(value, dict) else paper.get(key, value)
        for key, value in default.items()
    }


@pytest.fixture(scope="module")
def pairs(shared: Path) -> list[tuple[str, str]]:
    """Each caption of the photos, with its photo's name."""
    with open(shared / "photos/annotations.csv", encoding="utf-8", newline="") as file:
        return [
            (Path(row["file"]).stem, caption)
            for row in csv.DictReader(file)
            for caption in json.loads(row["captions"])
        ]


@pytest.fixture(scope="module")
def part(shared: Path, pairs: list[tuple[str, str]], tmp_path_factory) -> dict[str, Path]:
    """The files of a part made of these pairs: filtered, fetched and searched for objects."""
    folder = tmp_path_factory.mktemp("photos")
    shutil.copytree(shared / "photos/images", folder / "images")
    names = sorted({name for name, _ in pairs})
    answers = [(f"{HOST}/{name}.jpg", json.dumps({"path": f"images/{name}.jpg"})) for name in names]
    urls, payloads = zip(*answers, strict=True)
    world = {"url": urls, "kind": ["file"] * len(urls), "payload": payloads}
    write_table(pa.table(world), folder / "world.parquet")
    rows = {"URL": [f"{HOST}/{name}.jpg" for name, _ in pairs], "TEXT": [text for _, text in pairs]}
    write_table(pa.table(rows), folder / "part-00000.parquet")
    paths = {
        "candidates": folder / "candidates/part-00000.parquet",
        "counts": folder / "candidates/part-00000.json",
        "images": folder / "fetched/part-00000.parquet",
        "detections": folder / "detections/part-00000.parquet",
    }
    filtering.filter_part(
        part=folder / "part-00000.parquet", candidates=paths["candidates"],
        counts=paths["counts"],
        state=folder / "state/filter", **settings("captions") | {"non_counting_ratio": 1.0},
    )  # fmt: skip
    with connection("miniature", folder / "world.parquet") as environment:
        fetch.fetch_images(
            candidates=paths["candidates"], manifest=paths["images"],
            counts=folder / "fetched/part-00000.json",
            images=settings("fetch")["images"], state=folder / "state/fetch",
            environment=environment, connections=8,
        )  # fmt: skip
    own = settings("detector")
    keys = ("image_size", "confidence_floor", "iou", "max_detections", "precision")
    detector = {key: own[key] for key in keys} | {
        "weights": shared / "detector/yolov8n_int8_openvino_model",
        "batch": 8,
    }
    detect_objects(
        candidates=paths["candidates"], manifest=paths["images"],
        detections=paths["detections"],
        state=folder / "state/detect", **detector,
    )  # fmt: skip
    return paths


@pytest.mark.parametrize("rule", ["most_frequent", "caption_noun"])
def test_the_pairs_are_those_counted_by_hand(
    rule: str, part: dict[str, Path], shared: Path, tmp_path: Path
) -> None:
    benchmark = countbench.load(shared / "countbench/CountBench.json")
    rows = {"url": [row.url for row in benchmark], "caption": [row.caption for row in benchmark]}
    write_table(
        pa.table(rows | {"phash": pa.nulls(len(benchmark), pa.string())}),
        tmp_path / "benchmark.parquet",
    )
    output = {
        "counting": tmp_path / "counting.parquet",
        "non_counting": tmp_path / "non_counting.parquet",
        "class_frequency": tmp_path / "class_frequency.csv",
        "summary": tmp_path / "summary.json",
    }
    own = settings("counting_set") | {"class_rule": rule, "max_per_number": None}
    nouns = HOME / own.pop("nouns")
    counting_set.assemble(
        parts={"part-00000": part},
        benchmark=tmp_path / "benchmark.parquet",
        output=output,
        nouns_csv=nouns,
        **own,
    )
    counting = pq.read_table(output["counting"]).to_pylist()
    found = {Path(row["url"]).stem: row["class_name"] for row in counting}
    assert len(found) == len(counting), "one photo, two pairs"
    assert found.keys() <= SEEN.keys()
    expected = {name: getattr(seen, rule) for name, seen in SEEN.items()}
    sure = {name: cls for name, cls in expected.items() if cls != EITHER}
    assert len(sure) >= 10
    assert {name: found.get(name) for name in sure} == sure
    summary = json.loads(output["summary"].read_text())
    for kind in ("counting", "non_counting"):
        rows = summary["rows"]
        for step in summary[kind]:
            assert (step["rows"], rows) == (rows, step["kept"] + sum(step["lost"].values()))
            rows = step["kept"]
    assert rows == summary["non_counting_pairs"] > 10


def test_every_photo_with_a_number_was_looked_at(pairs: list[tuple[str, str]]) -> None:
    assert {name for name, text in pairs if number_words.label(text)} == SEEN.keys()
