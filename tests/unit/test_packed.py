"""Benchmarks whose images are decoded and resized once, and large files read in bounded memory."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tiny_training
from countclip.benchmarks import store
from countclip.data.number_words import WORDS
from countclip.evaluation import counting
from countclip.evaluation.counting import Questions
from countclip.model import inputs
from countclip.model.clip import Clip
from countclip.runtime.files import parquet_batches, sha256
from countclip.runtime.resources import HOME


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A benchmark of 21 images of many sizes, two of whose rows are not measured on."""
    folder = tmp_path_factory.mktemp("packed")
    rows, stored = [], []
    for index in range(21):
        rng = np.random.default_rng(index)
        width, height = rng.integers(40, 120, 2)
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (int(height), int(width), 3), np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        number = 2 + index % 9
        included = index not in (3, 8)
        row = {"index": 2 * index, "caption": f"{WORDS[number]} dogs", "number": number}
        rows.append(row | {"included": included, "sha256": sha256(file.getvalue()),
                           "width": int(width), "height": int(height)})  # fmt: skip
        if included:
            stored.append((2 * index, file.getvalue()))
    pq.write_table(pa.Table.from_pylist(rows), folder / "benchmark.parquet")
    store.write_images(*map(list, zip(*stored, strict=True)), folder / "images.parquet")
    return folder


@pytest.fixture(scope="module")
def clip(folder) -> Clip:
    return tiny_training.make_clip(tiny_training.make_config(folder))


def pack(folder: Path, size: int, images: str = "images.parquet") -> Path:
    table = folder / "benchmark.parquet"
    found = store.images_in_order(table, folder / images)
    path = folder / f"{size}.npy"
    inputs.pack_images(found, n=store.count_rows(table), how=size, path=str(path))
    return path


def test_packed_images_are_those_that_each_model_would_resize(folder, clip):
    packed = store.read_packed(folder / "benchmark.parquet", pack(folder, clip.image_size))
    plain = list(store.read_benchmark(folder / "benchmark.parquet", folder / "images.parquet"))
    assert [row["index"] for row in packed.rows] == [row["index"] for row in plain]
    direct, from_file = Questions.of(clip, plain), Questions.of(clip, packed)
    assert isinstance(from_file.images, store.PackedImages)
    for name in ("tokens", "numbers", "indices"):
        np.testing.assert_array_equal(getattr(direct, name), getattr(from_file, name))
    np.testing.assert_array_equal(direct.images, from_file.images[:])
    np.testing.assert_array_equal(direct.images[5:9], from_file.images[5:9])
    np.testing.assert_array_equal(direct.images[-3:], from_file.images[-3:])
    np.testing.assert_array_equal(direct.images[4], from_file.images[4])
    assert from_file.images[30:].shape == (0, *direct.images.shape[1:])
    assert from_file.images.shape == direct.images.shape
    # As images, for what asks for single rows: nothing is resized again.
    again = Questions.of(clip, iter(packed))
    np.testing.assert_array_equal(again.images, direct.images)
    with pytest.raises(ValueError, match="in their order"):
        from_file.images[::2]


def test_predictions_are_the_same_to_the_byte(folder, clip, tmp_path):
    model = {"name": "tiny-test", "pretrained": None, "config": str(folder / "tiny-test.json")}
    weights = tmp_path / "end.safetensors"
    tiny_training.checkpoints.save(clip.model, weights, {})
    table = folder / "benchmark.parquet"
    sides = {
        "decoded": store.read_benchmark(table, folder / "images.parquet"),
        "packed": store.read_packed(table, pack(folder, clip.image_size)),
    }
    for name, rows in sides.items():
        path = str(tmp_path / f"{name}.parquet")
        counting.evaluate({"end": str(weights)}, model, rows, "mine", 1, path)
    written = [(tmp_path / f"{name}.parquet").read_bytes() for name in sides]
    assert written[0] == written[1]


def test_other_rows_and_another_order_are_refused(folder, tmp_path):
    packed = pack(folder, 16)
    rows = pq.read_table(folder / "benchmark.parquet").slice(0, 9)
    pq.write_table(rows, tmp_path / "benchmark.parquet")
    with pytest.raises(ValueError, match=r"16.npy: 19 images for 7 rows of .*run again"):
        store.read_packed(tmp_path / "benchmark.parquet", packed)
    images = pq.read_table(folder / "images.parquet")
    pq.write_table(images.take(list(range(18, -1, -1))), folder / "turned.parquet")
    with pytest.raises(ValueError, match=r"turned.parquet: not in the order of .*benchmark.parq"):
        pack(folder, 16, "turned.parquet")
    (tmp_path / "cut.npy").write_bytes(packed.read_bytes()[:5])
    with pytest.raises(ValueError, match="magic string"):
        store.PackedImages(tmp_path / "cut.npy")


PEAK = """
import sys
import pyarrow.parquet
from countclip.runtime.files import parquet_batches
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
before = peak()
rows = sum(len(batch) for batch in parquet_batches(sys.argv[1], 16, ["image"]))
print(rows, peak() - before)
"""


def test_a_large_file_of_images_is_read_in_little_memory(tmp_path):
    """200 MB in row groups of 16 rows, as benchmarks are stored; pyarrow alone reads all ahead."""
    rng = np.random.default_rng(0)
    bodies = [rng.bytes(200_000) for _ in range(1000)]
    path = tmp_path / "images.parquet"
    pq.write_table(pa.table({"index": range(1000), "image": bodies}), path, row_group_size=16)
    read_ahead = PEAK.replace(
        'parquet_batches(sys.argv[1], 16, ["image"])',
        "pyarrow.parquet.ParquetFile(sys.argv[1]).iter_batches(16)",
    )
    megabytes = []
    for program in (PEAK, read_ahead):
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env={"PYTHONPATH": str(HOME / "workflow/scripts")},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        rows, peak = done.stdout.split()
        assert rows == "1000"
        megabytes.append(float(peak))
    assert megabytes[0] < 80 < 160 < megabytes[1]
    first = next(parquet_batches(path, 16)).to_pylist()
    assert [row["image"] for row in first] == bodies[:16]
