"""Repair suggestions: lines for repairs.csv that replace unusable images.

An image comes from a copy of the benchmark that includes the files, or else from the Internet
Archive. A person looks at the lines and takes them over. Nothing is requested here: repairs.py
verifies a line when it is applied.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from countclip.benchmarks import repairs_csv
from countclip.benchmarks.countbench import USABLE, Row, load
from countclip.benchmarks.image_checks import examine
from countclip.data.images import Unusable, format_of
from countclip.data.near_duplicates import hamming_distance
from countclip.runtime.files import parquet_batches, publish, write_text

log = logging.getLogger(__name__)

ARCHIVE = "https://web.archive.org/web/2021id_/{url}"
"""The capture nearest to 2021, when LAION-400M was made; id_ returns the file, not a page."""
COPY_COLUMNS = ("image_url", "text", "number", "image")


def suggest(
    *,
    list_json: str,
    audit_csv: str,
    suggestions_csv: str,
    image_limits: dict[str, Any],
    copy_parquet: str | None = None,
) -> None:
    """Publish a line of repairs.csv for each unusable row.

    The files that the lines name are in images/ beside them. A row whose host opts out
    (not_allowed) gets no line.
    copy_parquet: image_url, text, number and image (bytes, or a struct with them), as
        `nielsr/countbench` has them; rows are matched by URL, or else by caption and number.
    image_limits: max_pixels, min_side and placeholder_distance, as in audit.audit.
    """
    rows = load(list_json)
    audited = pd.read_csv(audit_csv, keep_default_na=False, dtype=str).to_dict("records")
    statuses = {int(record["index"]): record["status"] for record in audited}
    unusable = [row for row in rows if statuses[row.index] not in (*USABLE, "not_allowed")]
    placeholders = [record["phash"] for record in audited if record["status"] == "placeholder"]
    sources = {
        row.index: {
            "url": ARCHIVE.format(url=row.url),
            "provenance": "Internet Archive, the capture nearest to 2021",
        }
        for row in unusable
    }
    with publish(Path(suggestions_csv).parent / "images") as folder:
        folder.mkdir()
        for index, body in _images_of(copy_parquet, unusable) if copy_parquet else ():
            try:
                facts, status, _ = examine(
                    body, image_limits["max_pixels"], image_limits["min_side"]
                )
            except Unusable:
                continue
            distances = (hamming_distance(facts.phash, phash) for phash in placeholders)
            if status != "alive" or any(
                distance <= image_limits["placeholder_distance"] for distance in distances
            ):
                continue
            suffix = format_of(body)
            (folder / f"{index:03}.{suffix}").write_bytes(body)
            sources[index] = {
                "file": f"images/{index:03}.{suffix}",
                "sha256": facts.sha256,
                "provenance": f"{Path(copy_parquet).name}, a copy of the benchmark",
            }
    records = [
        {"index": index, "action": "replace", **source, "reason": statuses[index]}
        for index, source in sources.items()
    ]
    table = pd.DataFrame(records, columns=list(repairs_csv.COLUMNS))
    write_text(table.to_csv(index=False, lineterminator="\n"), suggestions_csv)
    files = sum("file" in record for record in records)
    log.info("%d unusable rows: %d images, %d addresses", len(records), files, len(records) - files)


def _images_of(copy_parquet: str, rows: list[Row]) -> Iterator[tuple[int, bytes]]:
    """Yield index and image of the rows that the copy has, a few at a time."""
    if missing := sorted(set(COPY_COLUMNS).difference(pq.read_schema(copy_parquet).names)):
        raise ValueError(
            f"{copy_parquet}: has no column {', '.join(missing)}; needed: {', '.join(COPY_COLUMNS)}"
        )
    by_url, by_caption = {}, {}
    for row in rows:  # CountBench has two addresses twice
        by_url.setdefault(row.url, []).append(row.index)
        by_caption.setdefault((row.caption, row.number), []).append(row.index)
    for batch in parquet_batches(copy_parquet, 16, list(COPY_COLUMNS)):
        for entry in batch.to_pylist():
            body = entry["image"]
            body = body.get("bytes") if isinstance(body, dict) else body
            indices = by_url.get(entry["image_url"])
            if indices is None:  # a caption that several rows share identifies none of them
                indices = by_caption.get((entry["text"], entry["number"]), [])
                indices = indices if len(indices) == 1 else []
            for index in indices if body else ():
                yield index, body
