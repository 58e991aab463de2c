"""Composed counting sets: as many objects as they say, within bounds, the same bytes always."""

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import cv2
import imagehash
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.data import compose, edit_controls, image_edits
from countclip.data.compose import COMPOSED, compose_pairs
from countclip.data.compose_sources import ComposeSettings, Source, shrunk
from countclip.data.counting_set import COUNTING, NON_COUNTING
from countclip.data.detector import DETECTIONS
from countclip.data.image_edits import EditSettings, Refused
from countclip.data.number_words import NUMBERS, WORDS
from countclip.data.shards import MANIFEST, read_images
from countclip.report import composed as report
from countclip.runtime.files import sha256, write_json, write_table
from kill import killed_often

RED, BLUE = (200, 30, 30), (30, 30, 200)
SETTINGS = {
    "operations": ["erase", "paste", "crop"],
    "captions": "new",
    "per_source": 12,
    "most_changed": 4,
    "min_side": 6,
    "max_area": 0.1,
    "max_overlap": 0.05,
    "margin": 0.1,
    "fill": "patch",
    "copied": "object",
    "max_difference": 20,
    "crop_min": 0.5,
    "seed": 0,
}


def scene(boxes: list[tuple], others: list[tuple] = (), seed: int = 0) -> np.ndarray:
    """Red squares, and blue ones, on a pale and slightly grainy ground of 112 x 160 pixels."""
    grain = np.random.default_rng(seed).integers(-3, 4, (112, 160, 1))
    image = np.clip(np.array([236, 232, 224]) + grain, 0, 255).astype(np.uint8)
    image = np.broadcast_to(image, (112, 160, 3)).copy()
    for colour, listed in ((RED, boxes), (BLUE, others)):
        for x1, y1, x2, y2 in listed:
            image[y1:y2, x1:x2] = colour
    return image


def squares(image: np.ndarray, colour: tuple = RED) -> int:
    """How many squares of a colour there are, counted by connected components."""
    near = np.abs(image.astype(int) - colour).max(axis=2) < 90
    _, _, stats, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8))
    return int((stats[1:, cv2.CC_STAT_AREA] > 30).sum())


def grid(n: int) -> list[tuple]:
    """n places of squares of 11 pixels, 22 apart, in the middle of a scene."""
    return [(31 + 22 * (i % 5), 8 + 24 * (i // 5), 42 + 22 * (i % 5), 19 + 24 * (i // 5))
            for i in range(n)]  # fmt: skip


# ---- edits ----


@pytest.mark.parametrize("fill", ["patch", "telea"])
def test_an_erased_object_leaves_ground_and_nothing_else_changes(fill: str) -> None:
    boxes = np.array(grid(4), float)
    image = scene(grid(4))
    edited = image_edits.erase(
        image, boxes[1:2], boxes[[0, 2, 3]], np.random.default_rng(0), EditSettings(fill=fill)
    )
    x1, y1, x2, y2 = image_edits.grown(boxes[1:2], 0.1, image.shape[:2])[0]
    assert squares(image) == 4
    assert squares(edited) == 3
    hole = edited[y1:y2, x1:x2].astype(int)
    assert np.abs(hole - [236, 232, 224]).max() < 12
    assert hole.std(axis=(0, 1)).min() > 0.5  # grain, as around it
    untouched = np.ones(image.shape[:2], bool)
    untouched[y1:y2, x1:x2] = False
    assert np.array_equal(edited[untouched], image[untouched])


def test_stripes_go_on_where_an_object_was() -> None:
    stripes = np.where(np.arange(160)[:, None] % 12 < 6, 200, 240).astype(np.uint8)
    image = np.ascontiguousarray(np.repeat(np.repeat(stripes, 160, 1)[..., None], 3, 2))
    with_object = image.copy()
    with_object[70:90, 70:90] = RED
    rng = np.random.default_rng(0)
    box = np.array([[70, 70, 90, 90]], float)
    patched, telea = (
        image_edits.erase(with_object, box, np.empty((0, 4)), rng, EditSettings(fill=fill))
        for fill in ("patch", "telea")
    )
    assert np.abs(patched.astype(int) - image).max() <= 2
    assert np.abs(telea.astype(int) - image).max() > 20


def test_a_hole_that_no_ground_fits_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (112, 160, 3), np.uint8)
    noise = cv2.resize(noise[:14, :20], (160, 112), interpolation=cv2.INTER_NEAREST)
    with pytest.raises(Refused, match="no_ground"):
        image_edits.erase(
            noise,
            np.array([(60, 40, 90, 70)], float),
            np.empty((0, 4)),
            np.random.default_rng(0),
            EditSettings(),
        )


def test_an_object_too_near_to_another_is_not_erased() -> None:
    boxes = np.array([(20, 20, 40, 40), (41, 20, 61, 40)], float)
    with pytest.raises(Refused, match="crowded"):
        image_edits.erase(scene([]), boxes[:1], boxes[1:], np.random.default_rng(0), EditSettings())


@pytest.mark.parametrize("copied", ["object", "box"])
def test_copies_lie_in_the_central_square_and_meet_nothing(copied: str) -> None:
    boxes, others = grid(3), [(60, 60, 80, 72)]
    image = scene(boxes, others)
    settings = EditSettings(copied=copied)
    for seed in range(8):
        edited = image_edits.paste(
            image,
            np.array(boxes, float),
            np.array(boxes + others, float),
            3,
            np.random.default_rng(seed),
            settings,
        )
        assert squares(edited) == 6
        assert squares(edited, BLUE) == 1
        changed = np.flatnonzero((edited != image).any(axis=(0, 2)))
        assert changed.min() >= 24
        assert changed.max() < 136


def test_a_copy_goes_where_the_ground_is_as_around_its_original() -> None:
    image = scene([])
    image[:56] = [90, 140, 220]  # a sky
    boxes = [(60, 80, 71, 91)]
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = RED
    for seed in range(8):
        rng = np.random.default_rng(seed)
        edited = image_edits.paste(
            image, np.array(boxes, float), np.array(boxes, float), 1, rng, EditSettings()
        )
        assert squares(edited) == 2
        assert np.flatnonzero((edited != image).any(axis=(1, 2))).min() >= 56


def test_no_copy_where_there_is_no_room() -> None:
    full = np.array([(0, 0, 24, 112), (50, 0, 160, 112), (0, 26, 50, 112), *grid(1)], float)
    with pytest.raises(Refused, match="no_place"):
        image_edits.paste(
            scene(grid(1)),
            np.array(grid(1), float),
            full,
            1,
            np.random.default_rng(0),
            EditSettings(copied="box"),
        )


def test_a_box_without_an_object_is_not_copied() -> None:
    flat = np.full((112, 160, 3), 200, np.uint8)
    with pytest.raises(Refused, match="no_mask"):
        image_edits.paste(
            flat, np.array(grid(1), float), np.array(grid(1), float), 1,
            np.random.default_rng(0), EditSettings(),
        )  # fmt: skip


def test_a_crop_holds_whole_boxes_and_cuts_none() -> None:
    boxes = np.array(grid(10), float)
    for seed in range(8):
        x1, y1, x2, y2 = image_edits.crop(
            boxes, 6, (112, 160), np.random.default_rng(seed), EditSettings(crop_min=0.3)
        )
        assert x2 - x1 == y2 - y1
        inside = (boxes[:, :2] >= [x1, y1]).all(1) & (boxes[:, 2:] <= [x2, y2]).all(1)
        outside = (boxes[:, 0] >= x2) | (boxes[:, 2] <= x1) | (boxes[:, 1] >= y2) | (
            boxes[:, 3] <= y1)  # fmt: skip
        assert inside.sum() == 6
        assert (inside | outside).all()
    with pytest.raises(Refused, match="no_window"):
        image_edits.crop(
            boxes[[0, 5]], 1, (112, 160), np.random.default_rng(0), EditSettings(crop_min=1.0)
        )


# ---- the stage ----


def pair(index: int, boxes: list[tuple], others: list[tuple] = (), **changes) -> dict:
    """A counting pair, its image and its detections; `changes` to its row or its detections."""
    buffer = io.BytesIO()
    Image.fromarray(scene(boxes, others, index)).save(buffer, "PNG")
    body = buffer.getvalue()
    detected = changes.pop("detected", [])
    caption = changes.pop("caption", f"A photo of {WORDS[len(boxes)]} red squares")
    word = WORDS[len(boxes)]
    start = caption.lower().index(word)
    row = {
        "key": f"{index:09d}", "part": "part-a", "sample_id": f"s{index}",
        "url": f"http://x.example/{index}.png", "caption": caption, "number": len(boxes),
        "number_start": start, "number_end": start + len(word), "class_name": "square",
        "sha256": sha256(body), "phash": str(imagehash.phash(Image.open(io.BytesIO(body)))),
        "split": "train",
    }  # fmt: skip
    found = [*((1, 0.9, box) for box in boxes), *((2, 0.8, box) for box in others), *detected]
    return {"row": row | changes, "body": body, "found": found}


def pairs_of_all_numbers(each: int = 4) -> list[dict]:
    """Pairs of two to seven squares, fewer of the higher ones, every ninth held out."""
    made = []
    for number in range(2, 8):
        for _ in range(max(1, each * (8 - number) // 2)):
            rng = np.random.default_rng(len(made))
            places = sorted(rng.permutation(15)[:number].tolist())
            boxes = [grid(15)[place] for place in places]
            split = "heldout" if len(made) % 9 == 0 else "train"
            made.append(pair(len(made), boxes, split=split))
    return made


def write_set(folder: Path, pairs: list[dict]) -> dict:
    """The files of a counting set; returns the arguments of `compose_pairs` that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [one["row"] for one in pairs]
    write_table(pa.Table.from_pylist(rows, schema=COUNTING), folder / "counting.parquet")
    write_table(NON_COUNTING.empty_table(), folder / "non_counting.parquet")
    train = Counter(row["number"] for row in rows if row["split"] == "train")
    frequency = [{"number": n, "word": WORDS[n], "train": train[n], "heldout": 0} for n in NUMBERS]
    pl.DataFrame(frequency).write_csv(folder / "class_frequency.csv")
    write_json({"train": sum(train.values()), "counted_classes": {"square": len(rows)}},
               folder / "summary.json")  # fmt: skip
    shards = folder / "images" / "part-a"
    shards.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shards / "0.tar", "w") as tar:
        for one in pairs:
            member = tarfile.TarInfo(f"{one['row']['key']}.png")
            member.size = len(one["body"])
            tar.addfile(member, io.BytesIO(one["body"]))
    index = [{"key": row["key"], "shard": "0.tar", "member": f"{row['key']}.png"} for row in rows]
    write_table(pa.Table.from_pylist(index, schema=compose.INDEX), shards / "index.parquet")
    facts = [row | {"status": "ok", "width": 160, "height": 112} for row in rows]
    write_table(pa.Table.from_pylist(facts, schema=MANIFEST), folder / "images/part-a.parquet")
    detections = [
        {
            "key": one["row"]["key"],
            "class_id": [found[0] for found in one["found"]],
            "score": [found[1] for found in one["found"]],
            "box": [list(map(float, found[2])) for found in one["found"]],
        }
        for one in pairs
    ]
    names = {"class_names": json.dumps({"1": "square", "2": "other"})}
    write_table(pa.Table.from_pylist(detections, schema=DETECTIONS), folder / "found.parquet",
                names)  # fmt: skip
    return {
        "counting": folder / "counting.parquet",
        "non_counting": folder / "non_counting.parquet",
        "class_frequency": folder / "class_frequency.csv",
        "summary": folder / "summary.json",
        "images": {"part-a": str(folder / "images/part-a.parquet")},
        "detections": {"part-a": str(folder / "found.parquet")},
        "benchmark": None,
        "name": "more",
        "confidence": 0.25,
        "decontaminate": [],
        "phash_distance": 0,
    }


def run(arguments: dict, folder: Path, per_number=8, threads: int = 1, **changes) -> Path:
    """Compose into a folder, which is returned."""
    output = {
        **{name: str(folder / f"{name}.parquet") for name in ("counting", "non_counting", "pairs")},
        "class_frequency": str(folder / "class_frequency.csv"),
        "summary": str(folder / "summary.json"),
        "manifest": str(folder / "images/more.parquet"),
    }
    compose_pairs(
        **arguments,
        output=output,
        settings=ComposeSettings.of(per_number, **SETTINGS | changes),
        state=folder / "state",
        threads=threads,
    )
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "state" not in path.parts
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> tuple[dict, list[dict]]:
    pairs = pairs_of_all_numbers()
    return write_set(tmp_path_factory.mktemp("source"), pairs), pairs


@pytest.fixture(scope="module")
def composed(source, tmp_path_factory) -> Path:
    return run(source[0], tmp_path_factory.mktemp("composed"))


def check_images(folder: Path) -> None:
    """Each image shows as many objects as its caption says."""
    rows = {row["key"]: row for row in pq.read_table(folder / "pairs.parquet").to_pylist()}
    images = dict(read_images(folder / "images/more.parquet"))
    assert rows.keys() == images.keys()
    for key, row in rows.items():
        image = np.asarray(Image.open(io.BytesIO(images[key])))
        assert sha256(images[key]) == row["sha256"]
        assert squares(image) == row["number"] == row["number_after"]
        assert row["caption"] == f"A photo of {WORDS[row['number']]} red squares"
        assert row["caption"][row["number_start"] : row["number_end"]] == WORDS[row["number"]]
        is_more = row["number_after"] > row["number_before"]
        assert is_more == (row["operation"] == "paste")


def test_each_image_shows_as_many_objects_as_its_caption_says(composed: Path) -> None:
    check_images(composed)


def test_numbers_are_filled_up_and_bounds_hold(source, composed: Path) -> None:
    pairs = {one["row"]["key"]: one["row"] for one in source[1]}
    whole = pq.read_table(composed / "counting.parquet")
    assert whole.schema.remove_metadata() == COMPOSED
    rows = whole.to_pylist()
    order = [(row["part"], row["key"]) for row in rows]
    assert order == sorted(order)
    old = [row for row in rows if row["operation"] is None]
    assert [{key: row[key] for key in COUNTING.names} for row in old] == [
        pairs[row["key"]] for row in old
    ]
    assert len(old) == len(pairs)
    made = [row for row in rows if row["operation"] is not None]
    assert all(row["split"] == "train" and row["part"] == "more" for row in made)
    sources = Counter(row["source_key"] for row in made)
    assert max(sources.values()) <= SETTINGS["per_source"]
    assert all(pairs[key]["split"] == "train" for key in sources)
    assert all(abs(row["number_after"] - row["number_before"]) <= 4 for row in made)
    train = Counter(row["number"] for row in rows if row["split"] == "train")
    before = Counter(row["number"] for row in pairs.values() if row["split"] == "train")
    assert train == {number: max(8, before[number]) for number in NUMBERS}
    frequency = pl.read_csv(composed / "class_frequency.csv")
    assert dict(zip(frequency["number"], frequency["train"], strict=True)) == train


def test_the_summary_adds_up(source, composed: Path) -> None:
    summary = json.loads((composed / "summary.json").read_text())
    found = summary["composed"]
    rows = pq.read_table(composed / "pairs.parquet").num_rows
    (of_sources,), (attempts,) = found["sources"], found["composed"]
    heldout = sum(one["row"]["split"] == "heldout" for one in source[1])
    assert of_sources["lost"] == {"heldout": heldout}
    for step in (of_sources, attempts):
        assert step["kept"] + sum(step["lost"].values()) == step["rows"]
    assert attempts["kept"] == rows == sum(one["composed"] for one in found["numbers"])
    assert sum(found["operations"].values()) == rows
    assert summary["train"] == len(source[1]) - heldout + rows
    assert summary["counted_classes"] == {"square": len(source[1]) + rows}


def test_the_same_bytes_on_any_number_of_cores(source, composed: Path, tmp_path: Path) -> None:
    other = run(source[0], tmp_path / "threads", threads=3)
    assert files(other) == files(composed)
    seeded = run(source[0], tmp_path / "seed", seed=1)
    assert files(seeded)["pairs.parquet"] != files(composed)["pairs.parquet"]


def slowly(arguments: dict, folder: Path) -> None:
    """Compose in blocks of six images."""
    compose.BLOCK = 6
    print("ready", flush=True)
    run(arguments, folder)


def test_killed_at_any_moment_it_ends_with_the_same_bytes(source, tmp_path: Path) -> None:
    slowly(source[0], tmp_path / "whole")
    compose.BLOCK = 256
    killed_often(slowly, source[0], tmp_path / "killed", times=6, longest=0.25)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert not list((tmp_path / "killed/state").iterdir())


def test_old_captions_stand_with_the_same_images(source, composed: Path, tmp_path: Path) -> None:
    """The control that must hurt: only what captions say differs."""
    wrong = pq.read_table(run(source[0], tmp_path, captions="old") / "pairs.parquet").to_pylist()
    right = pq.read_table(composed / "pairs.parquet").to_pylist()
    same = ("key", "sha256", "operation", "number_before", "number_after", "source_key")
    assert [[row[key] for key in same] for row in wrong] == [
        [row[key] for key in same] for row in right
    ]
    assert all(row["number"] == row["number_before"] for row in wrong)
    assert all(WORDS[row["number_before"]] in row["caption"] for row in wrong)


@pytest.mark.parametrize("operation", ["erase", "paste", "crop"])
def test_one_operation_alone(source, tmp_path: Path, operation: str) -> None:
    folder = run(source[0], tmp_path, operations=[operation], per_source=3)
    rows = pq.read_table(folder / "pairs.parquet").to_pylist()
    assert {row["operation"] for row in rows} == {operation}
    check_images(folder)
    numbers = json.loads((folder / "summary.json").read_text())["composed"]["numbers"]
    missing = {one["number"]: one["missing"] for one in numbers}
    assert (missing[10] == 8) == (operation != "paste")
    assert max(Counter(row["source_key"] for row in rows).values()) <= 3


def test_copies_of_another_class_leave_the_number(tmp_path: Path) -> None:
    """Two to seven squares, beside one or two others, which may become as many."""
    pairs = [pair(n, grid(15)[: 2 + n], grid(15)[-1 - n % 2 :]) for n in range(6)]
    arguments = write_set(tmp_path / "source", [*pairs, pair(6, grid(3))])
    folder = run(arguments, tmp_path / "made", 4, operations=["paste_others"], per_source=3)
    rows = pq.read_table(folder / "pairs.parquet").to_pylist()
    assert Counter(row["number"] for row in rows) == {2: 3, 3: 2, 4: 3, 5: 3, 6: 3, 7: 3}
    for row, (_, body) in zip(rows, read_images(folder / "images/more.parquet"), strict=True):
        image = np.asarray(Image.open(io.BytesIO(body)))
        before = len(pairs[int(row["source_key"])]["found"]) - row["number"]
        assert row["operation"] == "paste_others"
        assert row["number_before"] == row["number_after"] == row["number"] == squares(image)
        assert before < squares(image, BLUE) <= row["number"]


TWO = grid(2)
REFUSED = {
    "heldout": pair(1, TWO, split="heldout"),
    "several_numbers": pair(2, TWO, caption="two red squares of ten"),
    "another_number": pair(3, TWO, detected=[(1, 0.7, (100, 90, 110, 100))]),
    "overlapping": pair(4, [(40, 20, 60, 40), (55, 22, 75, 42)]),
    "unsure_box": pair(5, TWO, detected=[(1, 0.2, (100, 90, 110, 100))]),
    "small_box": pair(6, [(40, 20, 60, 40), (80, 20, 84, 40)]),
    "large_box": pair(7, [(40, 20, 60, 40), (70, 20, 130, 80)]),
}


def test_each_bound_has_its_reason_in_the_funnel(tmp_path: Path) -> None:
    right = [pair(0, TWO, detected=[(1, 0.2, TWO[0]), (2, 0.2, (100, 90, 110, 100))])]
    arguments = write_set(tmp_path / "source", right + list(REFUSED.values()))
    folder = run(arguments, tmp_path / "made", per_number=[9, 2, 1, 0, 0, 0, 0, 0, 0])
    summary = json.loads((folder / "summary.json").read_text())["composed"]
    assert summary["sources"][0]["lost"] == dict.fromkeys(sorted(REFUSED), 1)
    rows = pq.read_table(folder / "pairs.parquet").to_pylist()
    assert {row["source_key"] for row in rows} == {"000000000"}
    assert sorted(row["number"] for row in rows) == [3, 3, 4]
    assert {one["number"]: one["missing"] for one in summary["numbers"]}[2] == 2


def test_nothing_to_compose_from_is_an_error(tmp_path: Path) -> None:
    arguments = write_set(tmp_path / "source", [REFUSED["large_box"]])
    with pytest.raises(RuntimeError, match=r"no pair can be composed from.*large_box.*max_area"):
        run(arguments, tmp_path / "made")


def test_a_set_that_has_enough_of_each_number_is_an_error(tmp_path: Path) -> None:
    arguments = write_set(tmp_path / "source", [pair(0, TWO)])
    with pytest.raises(RuntimeError, match=r"nothing was composed: each number.* raise it"):
        run(arguments, tmp_path / "made", per_number=[1, 0, 0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(RuntimeError, match=r"nothing was composed: what was tried .*no_place"):
        run(arguments, tmp_path / "none", max_difference=0, operations=["paste"])


def test_a_large_image_is_composed_at_a_bounded_size() -> None:
    boxes = np.array(grid(3), float)
    source = Source({"number": 3}, 20 * boxes, boxes[:0], np.empty(0), 20 * boxes)
    large = Image.fromarray(scene(grid(3))).resize((3200, 2240), Image.Resampling.NEAREST)
    image, scaled = shrunk(large, source)
    assert image.shape == (896, 1280, 3)
    assert np.allclose(scaled.boxes, 8 * boxes)
    assert np.allclose(scaled.all_boxes, 8 * boxes)
    same, unscaled = shrunk(Image.fromarray(scene(grid(3))), source)
    assert same.shape == (112, 160, 3)
    assert unscaled is source
    plan = compose.Plan(0, 5, "paste", (1,))
    edited = compose.compose(image, scaled, plan, ComposeSettings.of(1, **SETTINGS))
    assert squares(edited) == 5


def test_another_class_must_not_outnumber_the_one_counted(tmp_path: Path) -> None:
    blue = [(31 + 22 * i, 80, 42 + 22 * i, 91) for i in range(3)]
    arguments = write_set(tmp_path / "source", [pair(0, grid(4), blue)])
    folder = run(arguments, tmp_path / "made", per_number=[1, 1, 0, 0, 0, 0, 0, 0, 0],
                 operations=["erase"])  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())["composed"]
    assert summary["composed"][0] == {
        "step": "compose", "rows": 5, "kept": 1, "lost": {"other_class": 4}
    }  # fmt: skip


def test_composed_images_keep_apart_from_benchmark_and_heldout(
    source, composed: Path, tmp_path: Path
) -> None:
    rows = pq.read_table(composed / "pairs.parquet").to_pylist()
    in_benchmark, held = rows[0], rows[-1]
    benchmark = {"url": [None], "caption": ["five cats"], "phash": [in_benchmark["phash"]]}
    pl.DataFrame(benchmark, schema=dict.fromkeys(benchmark, pl.String)).write_parquet(
        tmp_path / "benchmark.parquet"
    )
    heldout = pair(900, grid(3), split="heldout", phash=held["phash"])
    arguments = write_set(tmp_path / "source", [*source[1], heldout])
    arguments |= {"benchmark": tmp_path / "benchmark.parquet", "decontaminate": ["phash"]}
    folder = run(arguments, tmp_path / "made")
    lost = json.loads((folder / "summary.json").read_text())["composed"]["composed"][0]["lost"]
    assert lost["benchmark_phash"] >= 1
    assert lost["near_heldout"] >= 1
    hashes = {row["phash"] for row in pq.read_table(folder / "pairs.parquet").to_pylist()}
    assert not hashes & {in_benchmark["phash"], held["phash"]}


# ---- controls ----


def test_controls_change_another_class_alone(tmp_path: Path) -> None:
    blue = [(31 + 22 * i, 80, 42 + 22 * i, 91) for i in range(2)]
    pairs = [
        pair(0, grid(5), blue),  # of training
        pair(1, grid(4), blue, split="heldout"),
        pair(2, grid(3), blue[:1], split="heldout"),
        pair(3, grid(6), split="heldout"),
        pair(4, grid(2), blue, split="heldout"),
    ]
    arguments = write_set(tmp_path / "source", pairs)
    settings = ComposeSettings.of(9, **SETTINGS)
    made = [
        edit_controls.make_controls(
            **{key: arguments[key] for key in ("counting", "images", "detections", "confidence")},
            settings=settings, folder=tmp_path / name, summary=tmp_path / f"{name}.json",
        )
        for name in ("made", "again")
    ]  # fmt: skip
    assert made == [None, None]
    assert files(tmp_path / "made") == files(tmp_path / "again")
    summary = json.loads((tmp_path / "made.json").read_text())
    assert summary == {"heldout": 4, "made": 2, "lost": {"no_other_class": 2}}
    counts = {"untouched": [2, 1], "erased": [0, 0], "pasted": [4, 3]}
    for kind, others in counts.items():
        table = pl.read_csv(tmp_path / f"made/{kind}.csv")
        assert table["number"].to_list() == [4, 3]
        for (image, caption, number), n in zip(table.iter_rows(), others, strict=True):
            shown = np.asarray(Image.open(tmp_path / "made" / image))
            assert squares(shown) == number
            assert squares(shown, BLUE) == n
            assert caption == f"A photo of {WORDS[number]} red squares"


def test_a_set_without_other_classes_has_no_controls(tmp_path: Path) -> None:
    arguments = write_set(tmp_path / "source", [pair(0, grid(3), split="heldout")])
    with pytest.raises(RuntimeError, match=r"no held-out pair.*no_other_class"):
        edit_controls.make_controls(
            **{key: arguments[key] for key in ("counting", "images", "detections", "confidence")},
            settings=ComposeSettings.of(9, **SETTINGS),
            folder=tmp_path / "made",
            summary=tmp_path / "made.json",
        )


# ---- the report ----


def test_the_check_counts_what_the_detector_finds(composed: Path, tmp_path: Path) -> None:
    """A detector that finds one object too few in every third image, and unsure ones in all."""
    rows = pq.read_table(composed / "pairs.parquet").to_pylist()
    detections = []
    for place, row in enumerate(rows):
        n = row["number"] - (place % 3 == 0)
        found = {"class_id": [1] * n + [2, 1], "score": [0.9] * (n + 1) + [0.2]}
        detections.append({"key": row["key"], "box": [[0.0] * 4] * (n + 2)} | found)
    names = {"class_names": json.dumps({"1": "square", "2": "other"})}
    write_table(pa.Table.from_pylist(detections, schema=DETECTIONS), tmp_path / "found.parquet",
                names)  # fmt: skip
    pairs = tmp_path / "more.parquet"
    pairs.write_bytes((composed / "pairs.parquet").read_bytes())
    files_of = {f"{kind}_path": str(tmp_path / f"check.{kind}") for kind in ("csv", "json")}
    report.make_check(
        [str(pairs)], [str(tmp_path / "found.parquet")], confidence=[0.25], scale="miniature",
        markdown_path=str(tmp_path / "check.md"), **files_of,
    )  # fmt: skip
    table = pl.read_csv(tmp_path / "check.csv", schema_overrides={"number": pl.String})
    whole = table.filter((pl.col("operation") == "all") & (pl.col("number") == "all")).row(
        0, named=True
    )
    wrong = -(-len(rows) // 3)
    assert whole["n"] == len(rows)
    assert whole["right"] == pytest.approx(100 * (1 - wrong / len(rows)))
    assert whole["right_low"] < whole["right"] < whole["right_high"]
    assert whole["mean_error"] == pytest.approx(-wrong / len(rows))
    by_operation = table.filter(pl.col("operation") != "all")
    assert by_operation["n"].sum() == len(rows)


def test_composed_images_are_drawn_below_their_sources(
    source, composed: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "more.parquet"
    pairs.write_bytes((composed / "pairs.parquet").read_bytes())
    manifests = [source[0]["images"]["part-a"], str(composed / "images/more.parquet")]
    for name in ("one", "other"):
        report.draw([str(pairs)], manifests, svg=str(tmp_path / f"{name}.svg"),
                    png=str(tmp_path / f"{name}.png"), scale="miniature")  # fmt: skip
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    operations = set(pl.read_parquet(pairs)["operation"])
    assert Image.open(tmp_path / "one.png").height > 300 * len(operations)


def test_an_unknown_operation_is_refused() -> None:
    why = r"\['blur'\] are none of erase, paste, paste_others, crop"
    with pytest.raises(ValueError, match=why):
        ComposeSettings.of(9, **SETTINGS | {"operations": ["blur", "paste"]})
