"""Matching, splitting, cleaning, and a funnel that adds up."""

import csv
import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.data import counting_set, detector, fetch, filtering, number_words, shards
from countclip.data.counting_set import Funnel, cap, hold_out, match
from countclip.data.near_duplicates import is_near
from countclip.runtime.files import sha256, write_json, write_table
from kill import killed_often

SETTINGS = {
    "class_rule": "most_frequent",
    "confidence": 0.25,
    "max_per_number": None,
    "non_counting_per_counting": None,
    "heldout_fraction": 0.1,
    "decontaminate": ["url", "caption", "phash"],
    "phash_distance": 4,
    "seed": 0,
}


@pytest.mark.parametrize(
    ("classes", "number", "rule", "expected"),
    [
        ([7, 7, 3], 2, "most_frequent", 7),
        ([7, 7, 3], 1, "most_frequent", None),
        ([7, 7, 3, 3], 2, "most_frequent", 3),  # a tie: the lowest id
        ([7, 7, 3, 3, 3], 2, "most_frequent", None),
        ([7, 7, 3, 3, 3], 2, "any", 7),
        ([], 2, "most_frequent", None),
        ([], 2, "any", None),
    ],
)
def test_match(classes: list[int], number: int, rule: str, expected: int | None) -> None:
    assert match(classes, number, rule) == expected
    assert match(classes[::-1], number, rule) == expected


def test_match_refuses_an_unknown_rule() -> None:
    with pytest.raises(ValueError, match="'total'"):
        match([1], 2, "total")


@pytest.mark.parametrize(("named", "expected"), [({7}, 7), ({3, 7}, 3), ({5}, None), (set(), None)])
def test_match_of_the_classes_that_the_caption_names(named: set[int], expected: int | None) -> None:
    assert match([7, 7, 3, 3, 5, 5, 5], 2, "caption_noun", named) == expected


def test_near() -> None:
    ours, theirs = ["0" * 16, "f" * 16], ["0" * 15 + "7", "8" + "0" * 15]
    assert is_near(ours, theirs, 0).tolist() == [False, False]
    assert is_near(ours, theirs, 1).tolist() == [True, False]
    assert is_near(ours, theirs, 61).tolist() == [True, True]
    assert is_near(ours, [], 64).tolist() == [False, False]
    assert is_near([], theirs, 64).shape == (0,)


def test_near_is_the_same_in_blocks() -> None:
    """More hashes than go through at once, with pictures planted one and two bits apart."""
    generator = np.random.default_rng(0)
    theirs = generator.integers(0, 2**64, 300_000, np.uint64)
    ours = generator.integers(0, 2**64, 20, np.uint64)
    ours[3], ours[11] = theirs[-1] ^ np.uint64(1 << 63), theirs[7] ^ np.uint64(3)
    left, right = ([f"{value:016x}" for value in values] for values in (ours, theirs))
    assert np.flatnonzero(is_near(left, right, 1)).tolist() == [3]
    assert np.flatnonzero(is_near(left, right, 2)).tolist() == [3, 11]


def test_cap_keeps_as_many_of_each_number_whichever_others_there_are() -> None:
    numbers, digests = [2] * 50 + [3] * 5, [f"{i:03d}" for i in range(55)]
    most = [10, 10, 1, 1, 1, 1, 1, 1, 1]
    fates = cap(numbers, digests, most, seed=0)
    assert fates.count("above_cap") == 40
    assert fates[50:] == [None] * 5
    assert cap(numbers, digests, most, seed=1) != fates
    assert cap(numbers[::-1], digests[::-1], most, seed=0) == fates[::-1]
    assert cap(numbers[5:], digests[5:], most, seed=0).count("above_cap") == 35
    kept = {d for d, fate in zip(digests[:50], fates, strict=False) if fate is None}
    fewer = cap(numbers, digests, [7, *most[1:]], seed=0)
    assert kept > {d for d, fate in zip(digests[:50], fewer, strict=False) if fate is None}
    assert cap(numbers, digests, None, seed=0) == [None] * 55


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("http://x.example/a.jpg", "https://X.example:443/a.jpg#top", True),
        ("http://x.example/a%20b.jpg/", "//x.example/a b.jpg", True),
        ("http://x.example", " x.example/ ", True),
        ("http://x.example:8080/a", "http://x.example/a", False),
        ("http://x.example/A.jpg", "http://x.example/a.jpg", False),
        ("http://x.example/a?id=1", "http://x.example/a?id=2", False),
        ("http://cdn.example/http://x.example/a", "http://x.example/a", False),
        ("http://[broken/a", "https://[broken/a", True),
    ],
)
def test_addresses_of_one_picture(left: str, right: str, same: bool) -> None:
    assert (counting_set._address(left) == counting_set._address(right)) == same


def test_hold_out_takes_a_part_of_each_number() -> None:
    numbers = [2] * 100 + [3] * 10 + [4] * 2 + [5]
    digests = [f"{i:03d}" for i in range(113)]
    split = hold_out(numbers, digests, 0.1, seed=0)
    held = [n for n, s in zip(numbers, split, strict=True) if s == "heldout"]
    assert held == [2] * 10 + [3, 4]
    assert hold_out(numbers, digests, 0.1, seed=1) != split
    assert hold_out(numbers[::-1], digests[::-1], 0.1, seed=0) == split[::-1]
    assert set(hold_out(numbers, digests, 0, seed=0)) == {"train"}
    everything = hold_out(numbers, digests, 1.0, seed=0)
    assert everything.count("train") == 4  # one of each number stays


def test_a_funnel_that_leaks_is_an_error() -> None:
    funnel = Funnel(10)
    funnel.step("a", 8, {"x": 2})
    with pytest.raises(RuntimeError, match="leaks: b had 8 rows, kept 5"):
        funnel.step("b", 5, {"y": 2})


def picture(seed: int, kind: str = "PNG") -> bytes:
    if kind == "cut":
        return picture(seed)[:200]
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((64, 64), Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


# caption, address, image (seed and kind; None: not downloaded), classes with scores; its fate
ROWS = [
    ("two cats", "a", 1, [(5, 0.9), (5, 0.3)], "kept"),
    ("two dogs", "b", 2, [(5, 0.9), (5, 0.2)], "another_number"),
    ("three dogs", "c", 3, [(5, 0.9)] * 3, "kept"),
    ("three dogs", "d", 4, [(5, 0.2)] * 3, "no_object"),
    ("four dogs", "e", None, None, "http_404"),
    ("two tabbies", "m", 1, [(5, 0.9), (5, 0.3)], "same_image"),
    ("Two  CATS", "a#x", 9, [(5, 0.9), (5, 0.3)], "same_pair"),
    ("two birds", "f", 6, [(5, 0.9), (5, 0.3)], "phash"),
    ("two leaks", "g", 7, [(5, 0.9), (5, 0.3)], "caption"),
    ("two fish", "leak", 8, [(5, 0.9), (5, 0.3)], "url"),
    ("two owls", "h", 10, None, "unreadable"),
    ("two newts", "n", (12, "cut"), [(5, 0.9), (5, 0.3)], "unreadable"),
    # Two of a number: one is held out, and the other too near it.
    ("five foxes", "p", 14, [(5, 0.9)] * 5, "kept"),
    ("five foxes", "q", (14, "JPEG"), [(5, 0.9)] * 5, "near_heldout"),
    ("a cat", "i", 11, None, "kept"),
    ("a fox", "r", (14, "BMP"), None, "near_heldout"),
    ("a copy", "j", 1, None, "image_of_counting_set"),
    ("a dog", "k", None, None, "timeout"),
    ("a bird", "l", 6, None, "phash"),
    ("a newt", "o", (13, "cut"), None, "unreadable"),
]  # fmt: skip


SPAN = ("number", "number_start", "number_end")


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[dict, Path, dict]:
    return make_inputs(tmp_path, ROWS)


def make_inputs(tmp_path: Path, given: list[tuple]) -> tuple[dict, Path, dict]:
    """The files of a part with the `given` rows, a benchmark, and where the results belong."""
    rows = [
        {"sample_id": str(i), "url": f"http://x.example/{url}", "caption": caption}
        | dict(zip(SPAN, number_words.label(caption) or (), strict=False))
        | {"words": [word._asdict() for word in number_words.find(caption)]}
        for i, (caption, url, *_) in enumerate(given)
    ]  # fmt: skip
    paths = {
        "candidates": tmp_path / "candidates.parquet",
        "counts": tmp_path / "counts.json",
        "images": tmp_path / "images/part-00000.parquet",
        "detections": tmp_path / "detections.parquet",
    }
    write_table(pa.Table.from_pylist(rows, schema=filtering.CANDIDATES), paths["candidates"])
    numbers = sum("number" in row for row in rows)
    reasons = {"counting": numbers, "non_counting": len(rows) - numbers}
    reasons |= {"no_url": 3, "no_caption": 2}
    reasons |= {"several_numbers": 1, "non_counting_not_sampled": 74}
    write_json({"rows": sum(reasons.values()), "reasons": reasons}, paths["counts"])
    shard = shards.shards_of(paths["images"]) / "first/00000.tar"
    shard.parent.mkdir(parents=True)
    manifest, detections = [], []
    with tarfile.open(shard, "w") as tar:
        for i, (_, url, seed, found, fate) in enumerate(given):
            row = {"key": f"{i:09d}", "sample_id": str(i), "url": f"http://x.example/{url}"}
            if seed is None:
                manifest.append(row | {"status": fate})
                continue
            member = tarfile.TarInfo(f"{i}.png")
            data = picture(*seed) if isinstance(seed, tuple) else picture(seed)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            image = {"status": "ok", "sha256": sha256(data), "width": 64, "height": 64}
            manifest.append(row | image | {"shard": "first/00000.tar", "member": f"{i}.png"})
            if "number" in rows[i]:
                detections.append({"key": row["key"]} if found is None else {
                    "key": row["key"], "class_id": [c for c, _ in found],
                    "score": [s for _, s in found], "box": [[0.0] * 4] * len(found),
                })  # fmt: skip
    write_table(pa.Table.from_pylist(manifest, schema=fetch.MANIFEST), paths["images"])
    index = pa.Table.from_pylist([row for row in manifest if "shard" in row], schema=fetch.INDEX)
    write_table(index, shards.shards_of(paths["images"]) / "index.parquet")
    write_table(
        pa.Table.from_pylist(detections, schema=detector.DETECTIONS),
        paths["detections"],
        {"class_names": '{"5": "thing"}'},
    )
    near = imagehash.phash(Image.open(io.BytesIO(picture(6, "JPEG"))))
    benchmark = {
        "url": ["https://x.example/leak", "http://x.example/gone"],
        "caption": ["nine lives", "TWO leaks"],
        "phash": [str(near), None],
    }
    write_table(pa.table(benchmark), tmp_path / "benchmark.parquet")
    output = {
        "counting": tmp_path / "counting.parquet",
        "non_counting": tmp_path / "non_counting.parquet",
        "class_frequency": tmp_path / "class_frequency.csv",
        "summary": tmp_path / "summary.json",
    }
    return {"part-00000": paths}, tmp_path / "benchmark.parquet", output


def summary_of(output: dict[str, Path]) -> dict:
    return json.loads(output["summary"].read_text())


def test_every_row_meets_the_fate_it_should(inputs: tuple) -> None:
    parts, benchmark, output = inputs
    counting_set.assemble(parts=parts, benchmark=benchmark, output=output, **SETTINGS)
    summary = summary_of(output)
    fates = {"counting": ROWS[:14], "non_counting": ROWS[14:]}
    for kind, rows in fates.items():
        expected = [row[-1] for row in rows if row[-1] != "kept"]
        lost = sum((Counter(step["lost"]) for step in summary[kind][1:]), Counter())
        assert lost == Counter(expected)
        assert summary[kind][0]["rows"] == summary["rows"] == 100
        for before, after in zip(summary[kind], summary[kind][1:], strict=False):
            assert before["kept"] == after["rows"] == after["kept"] + sum(after["lost"].values())
    counting = pq.read_table(output["counting"])
    assert counting.schema.equals(counting_set.COUNTING)
    assert counting["caption"].to_pylist() == ["two cats", "three dogs", "five foxes"]
    assert counting["split"].to_pylist() == ["train", "train", "heldout"]
    assert counting["class_name"].to_pylist() == ["thing"] * 3
    for row in counting.to_pylist():
        word = row["caption"][row["number_start"] : row["number_end"]]
        assert word == number_words.WORDS[row["number"]]
    others = pq.read_table(output["non_counting"])
    assert others.schema.equals(counting_set.NON_COUNTING)
    assert others["caption"].to_pylist() == ["a cat"]
    with open(output["class_frequency"], newline="") as file:
        frequency = {row["word"]: row for row in csv.DictReader(file)}
    assert list(frequency) == list(number_words.WORDS.values())
    assert frequency["two"] == {
        "number": "2", "word": "two", "candidates": "9", "downloaded": "9", "matched": "7",
        "train": "1", "heldout": "0",
    }  # fmt: skip


def test_what_decontaminates_is_chosen(inputs: tuple) -> None:
    parts, benchmark, output = inputs
    counting_set.assemble(
        parts=parts, benchmark=benchmark, output=output, **SETTINGS | {"decontaminate": ["url"]}
    )
    counting = pq.read_table(output["counting"])["caption"].to_pylist()
    assert counting == ["two cats", "three dogs", "two birds", "two leaks", "five foxes"]
    with pytest.raises(ValueError, match="title"):
        counting_set.assemble(
            parts=parts,
            benchmark=benchmark,
            output=output,
            **SETTINGS | {"decontaminate": ["title"]},
        )


def test_naive_filtering_asks_no_detector(inputs: tuple) -> None:
    parts, benchmark, output = inputs
    del parts["part-00000"]["detections"]
    counting_set.assemble(
        parts=parts, benchmark=benchmark, output=output, **SETTINGS | {"class_rule": "none"}
    )
    counting = pq.read_table(output["counting"])
    assert counting["caption"].to_pylist() == [
        "two cats", "two dogs", "three dogs", "three dogs", "two owls", "five foxes"
    ]  # fmt: skip
    assert set(counting["class_name"].to_pylist()) == {None}
    steps = {step["step"]: step["lost"] for step in summary_of(output)["counting"]}
    assert steps["detect"] == {}
    assert steps["read"] == {"unreadable": 1}


def test_the_class_that_counts_is_named_in_the_caption(inputs: tuple, tmp_path: Path) -> None:
    parts, benchmark, output = inputs
    nouns = tmp_path / "nouns.csv"
    nouns.write_text("class,nouns\nthing,cats;foxes\n", encoding="utf-8")
    settings = SETTINGS | {"class_rule": "caption_noun"}
    counting_set.assemble(
        parts=parts, benchmark=benchmark, output=output, nouns_csv=nouns, **settings
    )
    counting = pq.read_table(output["counting"])["caption"].to_pylist()
    assert counting == ["two cats", "five foxes"]
    steps = {step["step"]: step["lost"] for step in summary_of(output)["counting"]}
    # "three dogs", which shows three things, and what `most_frequent` lost later or not at all.
    assert steps["detect"] == {
        "another_number": 1, "no_object": 1, "not_named": 6, "unreadable": 1
    }  # fmt: skip


def test_caps_and_the_sample_of_the_others_are_counted(inputs: tuple) -> None:
    parts, benchmark, output = inputs
    settings = SETTINGS | {"max_per_number": [1] * 9, "non_counting_per_counting": 0.5}
    counting_set.assemble(parts=parts, benchmark=benchmark, output=output, **settings)
    summary = summary_of(output)
    steps = {step["step"]: step["lost"] for step in summary["counting"]}
    assert steps["cap"]["above_cap"] == 5  # four of the five twos, one of the two fives
    assert [row["train"] + row["heldout"] <= 1 for row in summary["numbers"]] == [True] * 9
    sample = next(step for step in summary["non_counting"] if step["step"] == "sample")
    assert sample["kept"] == round(0.5 * (summary["train"] + summary["heldout"]))
    assert sample["lost"] == {"not_sampled": sample["rows"] - sample["kept"]}
    assert summary["non_counting_pairs"] == pq.read_metadata(output["non_counting"]).num_rows
    assert summary["settings"] == settings


def test_same_bytes_twice(inputs: tuple) -> None:
    parts, benchmark, output = inputs
    counting_set.assemble(parts=parts, benchmark=benchmark, output=output, **SETTINGS)
    first = {name: path.read_bytes() for name, path in output.items()}
    counting_set.assemble(parts=parts, benchmark=benchmark, output=output, **SETTINGS)
    assert first == {name: path.read_bytes() for name, path in output.items()}


def test_nothing_left_is_an_error_that_says_what_to_do(inputs: tuple) -> None:
    parts, benchmark, output = inputs
    settings = SETTINGS | {"confidence": 0.95}
    with pytest.raises(
        RuntimeError, match="no pair is left.*after each step: filter .*detect 0.*laion.parts"
    ):
        counting_set.assemble(parts=parts, benchmark=benchmark, output=output, **settings)


def test_manifest_of_other_candidates_is_refused(inputs: tuple) -> None:
    parts, benchmark, output = inputs
    paths = parts["part-00000"]
    write_table(pq.read_table(paths["candidates"]).slice(1), paths["candidates"])
    with pytest.raises(ValueError, match="does not list the rows of"):
        counting_set.assemble(parts=parts, benchmark=benchmark, output=output, **SETTINGS)


def assemble(parts: dict, benchmark: Path, output: dict[str, Path]) -> None:
    print("ready", flush=True)
    counting_set.assemble(parts=parts, benchmark=benchmark, output=output, **SETTINGS)


def test_kill_9_at_any_moment_changes_no_byte_and_leaves_nothing_behind(tmp_path: Path) -> None:
    rows = [("two cats", f"{i}", i, [(5, 0.9), (5, 0.8)], None) for i in range(500)]
    rows += [("a cat", f"other/{i}", 1000 + i, None, None) for i in range(500)]
    parts, benchmark, _ = make_inputs(tmp_path, rows)
    folders = tmp_path / "disturbed", tmp_path / "undisturbed"
    for folder, times in zip(folders, (10, 0), strict=True):
        output = {name: folder / f"{name}.out" for name in ("counting", "non_counting", "summary")}
        output["class_frequency"] = folder / "class_frequency.out"
        killed_often(assemble, parts, benchmark, output, times=times, longest=0.3)
    disturbed, undisturbed = ({f.name: sha256(f) for f in sorted(d.iterdir())} for d in folders)
    assert disturbed == undisturbed
    assert len(disturbed) == 4
