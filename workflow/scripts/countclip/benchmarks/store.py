"""Storage of a benchmark's images: as they came, and packed once at the size of a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from countclip.data.images import decode
from countclip.runtime.files import parquet_batches, sha256, write_table


class PackedImages:
    """Images of a file of NumPy's, uint8 (n, height, width, 3), read as they are needed.

    A mapped file would count as memory of the process, page by page, until all of it does.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        with open(path, "rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path}: no packed images; delete it and run again")
            self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(file)
            self._start = file.tell()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: slice | int) -> np.ndarray:
        """Images in a row, or one of them."""
        one = not isinstance(places, slice)
        start, stop, step = (slice(places, places + 1) if one else places).indices(len(self))
        if step != 1:
            raise ValueError("packed images are read in their order")
        count, size = max(stop - start, 0), int(np.prod(self.shape[1:]))
        found = np.fromfile(
            self._path, self.dtype, count * size, offset=self._start + start * size
        ).reshape(count, *self.shape[1:])
        return found[0] if one else found


@dataclass(frozen=True)
class PackedBenchmark:
    """The rows of a benchmark to measure on, index, caption and number, and their packed images.

    Iterating yields what `read_benchmark` does, with images of the model's size.
    """

    rows: list[dict[str, Any]]
    images: PackedImages

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row, pixels in zip(self.rows, map(self.images.__getitem__, range(len(self.rows))),
                               strict=True):  # fmt: skip
            yield row | {"image": Image.fromarray(pixels)}


def read_packed(benchmark: str | Path, images: str | Path) -> PackedBenchmark:
    """The rows to measure on, and their images as `pack_benchmark` has written them."""
    rows = [
        {key: row[key] for key in ("index", "caption", "number")} for row in _included(benchmark)
    ]
    packed = PackedImages(images)
    if len(packed) != len(rows):
        raise ValueError(
            f"{images}: {len(packed)} images for {len(rows)} rows of {benchmark}; delete it and run"
            " again"
        )
    return PackedBenchmark(rows, packed)


def images_in_order(benchmark: str | Path, images: str | Path) -> Iterator[Image.Image]:
    """The images of `read_benchmark`, one for each row to measure on; ValueError in other order."""
    expected = (row["index"] for row in _included(benchmark))
    for index, row in zip(expected, read_benchmark(benchmark, images), strict=True):
        if row["index"] != index:
            raise ValueError(f"{images}: not in the order of {benchmark}; delete it and run again")
        yield row["image"]


def count_rows(benchmark: str | Path) -> int:
    """How many rows are measured on."""
    return len(_included(benchmark))


def _included(benchmark: str | Path) -> list[dict[str, Any]]:
    return [row for row in pq.read_table(benchmark).to_pylist() if row["included"]]


def read_benchmark(benchmark: str | Path, images: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the rows to measure on, by index: index, caption, number, image (PIL, RGB)."""
    rows = {row["index"]: row for row in _included(benchmark)}
    for batch in parquet_batches(images, 16):
        for stored in batch.to_pylist():
            row = rows.pop(stored["index"])
            if row["sha256"] != stored["sha256"]:
                raise ValueError(f"{images}: index {row['index']} is not the benchmark's image")
            yield {
                "index": row["index"],
                "caption": row["caption"],
                "number": row["number"],
                # Its size was checked when it was audited.
                "image": decode(stored["image"], max_pixels=row["width"] * row["height"]),
            }
    if rows:
        raise ValueError(f"{images}: images are missing for {sorted(rows)}; delete it, run again")


def write_images(indices: list[int], bodies: list[bytes], path: str) -> None:
    """Publish image files unchanged: index, sha256, image."""
    columns = {
        "index": pa.array(indices, pa.int32()),
        "sha256": [sha256(body) for body in bodies],
        "image": pa.array(bodies, pa.large_binary()),
    }
    write_table(pa.table(columns), path)
