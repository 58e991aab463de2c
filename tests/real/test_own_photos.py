"""From a folder of real photos to a trained and evaluated model, without any network.

The overlays are those of a user, with the miniature's model: what is tested is the way, not what so
small a model learns of photos.
"""

import csv
import json
import shutil
import socket
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from countclip.data import number_words
from countclip.data.counted_images import Source, coco
from countclip.data.number_words import NUMBERS
from countclip.runtime.folders import ImageFolder
from countclip.runtime.resources import HOME
from workflow.conftest import snakemake
from workflow.dry_runs import jobs

FOLDER = """\
scale: partial
countbench: {list: null}
benchmarks:
  own: null
  photos: {source: folder, path: photos/test.csv}
counting_set: {decontaminate: [phash], heldout_fraction: 0.2}
counting_sets:
  main: {source: folder, path: photos/train.csv}
training: {batch_size: 8, counting_per_batch: 4, steps: 6, epochs: 2}
retention: {tasks: {things: null, pairs: null}}
only: [modal_sched_plus]
"""
COCO = FOLDER.replace(
    "main: {source: folder, path: photos/train.csv}",
    "main: {source: coco, path: photos/instances.json}",
)
NOUNS = HOME / "resources/coco_nouns.csv"
TABLE = "results/benchmarks/photos/table.csv"


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[dict]:
    with open(shared / "photos/annotations.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row | {key: json.loads(row[key]) for key in ("counts", "captions")} for row in rows]


@pytest.fixture
def folder(shared: Path, photos: list[dict], tmp_path: Path) -> Path:
    """A run's folder with the photos, a CSV of two thirds of them and one of the others."""
    shutil.copytree(shared / "photos/images", tmp_path / "photos/images")
    lines: dict[str, list[tuple]] = {"train": [], "test": []}
    for n, photo in enumerate(photos):
        counts = {name: count for name, count in photo["counts"].items() if count in NUMBERS}
        noun = max(counts, key=counts.get, default="")
        if n % 3 == 0:
            if noun:
                lines["test"].append((photo["file"], "", noun, counts[noun]))
        else:
            caption = (photo["captions"] or [""])[0]
            if noun or caption:
                lines["train"].append((photo["file"], caption, noun, counts.get(noun, "")))
    for name, rows in lines.items():
        with open(tmp_path / f"photos/{name}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("image", "caption", "noun", "number"), *rows])
    return tmp_path


def write_coco(folder: Path, photos: list[dict]) -> None:
    """COCO's two files of the photos, made of their counts; captions too where there are some."""
    classes = sorted({name for photo in photos for name in photo["counts"]})
    images = [{"id": n, "file_name": photo["file"]} for n, photo in enumerate(photos)]
    annotations = [
        {"image_id": n, "category_id": classes.index(name), "iscrowd": 0}
        for n, photo in enumerate(photos)
        for name, count in photo["counts"].items()
        for _ in range(count)
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(classes)]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    captions = [
        {"image_id": n, "caption": text}
        for n, photo in enumerate(photos)
        for text in photo["captions"]
    ]
    (folder / "photos/instances.json").write_text(json.dumps(instances))
    (folder / "photos/captions.json").write_text(json.dumps({"annotations": captions}))


def run(folder: Path, overlay: str, *arguments: str) -> set[str]:
    """Run Snakemake in the folder, with proxies that answer nothing; the rules that it ran."""
    assert len(overlay.splitlines()) <= 15
    (folder / "mine.yaml").write_text(overlay, encoding="utf-8")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), proxy)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (proxies | {"HF_HUB_OFFLINE": "1"}).items():
                patch.setenv(name, value)
            where = ("--snakefile", str(HOME / "Snakefile"), "--directory", str(folder))
            config = ("--cores", "2", "--configfile", str(folder / "mine.yaml"))
            return set(jobs(snakemake(*arguments, *where, *config)))


def test_photos_in_a_folder_and_in_cocos_form_train_and_evaluate_a_model(
    folder: Path, photos: list[dict]
) -> None:
    """One overlay of a few lines each; the second run repeats what depends on the set alone."""
    made = run(folder, FOLDER, TABLE)
    assert {"read_counted_images", "train_variant", "evaluate", "make_benchmark_table"} <= made
    assert not {rule for rule in made if "countbench" in rule or "world" in rule}
    table = pd.read_csv(folder / TABLE)
    assert table["variant"].tolist()[:2] == ["baseline", "modal_sched_plus"]
    assert table["n"][0] == len((folder / "photos/test.csv").read_text().splitlines()) - 1
    counting = check_pairs(folder, photos)
    assert {row["url"] for row in counting} < {photo["file"] for photo in photos}
    write_coco(folder, photos)
    again = run(folder, COCO, TABLE)  # of which the benchmark's photos are kept apart
    assert "read_benchmark" not in again
    assert {"read_counted_images", "train_variant", "make_benchmark_table"} <= again
    assert {row["caption"] for row in check_pairs(folder, photos)} != {
        row["caption"] for row in counting
    }
    assert not list((folder / "results").rglob("*.jpg"))  # read where they lie


COUNTED = {
    "Two men playing baseball in a field on a sunny day.": "person",
    "two baseball players are playing baseball on a field": "person",
    "Two guys playing baseball, with trees in the back.": "person",
    "Three people with cups on the couch and one with remote standing": "person",
    "Two parked bikes on a sidewalk with a person riding a motor bike.": "bicycle",
}
"""Captions of which as many are annotated as they count, seen one by one."""


def test_captions_in_cocos_form_count_what_is_annotated(folder: Path, photos: list[dict]) -> None:
    """Of 32 captions with a number word the others count fewer than all people, or no class."""
    write_coco(folder, photos)
    place = folder / "photos"
    source = Source(
        place / "instances.json", ImageFolder(place), place / "captions.json", str(NOUNS)
    )
    rows = [row for row in coco(source) if number_words.find(row.caption)]
    assert len(rows) == 32
    assert {row.caption: row.noun for row in rows if not row.dropped} == COUNTED
    assert Counter(row.dropped for row in rows) == {"": 5, "another_number": 23, "not_named": 4}


def check_pairs(folder: Path, photos: list[dict]) -> list[dict]:
    """The counting pairs, each of which names an annotated number of its photo."""
    counts = {photo["file"]: photo["counts"] for photo in photos}
    pairs = pq.read_table(folder / "results/counting_set/main/counting.parquet").to_pylist()
    summary = json.loads((folder / "results/counting_set/main/summary.json").read_text())
    assert len(pairs) == summary["train"] + summary["heldout"] > 5
    assert {pair["split"] for pair in pairs} == {"train", "heldout"}
    for pair in pairs:
        if pair["class_name"]:
            assert counts[pair["url"]][pair["class_name"]] == pair["number"]
    return pairs
