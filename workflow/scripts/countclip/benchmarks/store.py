"""Storage of a benchmark's images: one Parquet file beside its table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from countclip.data.images import decode
from countclip.runtime.files import sha256, write_table


def read_benchmark(benchmark: str | Path, images: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the rows to measure on, by index: index, caption, number, image (PIL, RGB)."""
    rows = {row["index"]: row for row in pq.read_table(benchmark).to_pylist() if row["included"]}
    for batch in pq.ParquetFile(images).iter_batches(batch_size=16):
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
