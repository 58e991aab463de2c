"""Further benchmarks: rows of any adapter, checked and stored as CountBench's are.

No row is dropped: each has a status, which is the reason if it is left out.
"""

import logging
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from countclip.benchmarks import countbench
from countclip.benchmarks.adapters import ADAPTERS, Entry
from countclip.benchmarks.image_checks import examine
from countclip.data import number_words
from countclip.data.captions import from_noun
from countclip.data.images import Unusable, read_file
from countclip.data.number_words import NUMBERS, word_for
from countclip.data.published_sets import counted_noun
from countclip.runtime.files import progress, publish, sha256, write_json, write_table
from countclip.runtime.folders import ImageFolder

log = logging.getLogger(__name__)

STATUSES = {
    "included": "is measured on",
    "complex": "its publisher calls the question complex",
    "question": "its question restricts what is counted",
    "number": "its number is not one of two to ten",
    "caption": "its caption does not name its number as a whole word",
    "missing": "its image is not there",
    "too_large": "its image file has too many bytes",
    "undecodable": countbench.STATUSES["undecodable"],
    "not_an_image": "its file is not an image that is read",
    "too_small": countbench.STATUSES["too_small"],
    "placeholder": "its image shows nothing to count: it is flat or a placeholder",
}
"""Statuses of a row, in the order of the checks."""
SCHEMA = pa.schema(
    {
        "index": pa.int32(),
        "place": pa.string(),  # where the publisher has it
        "caption": pa.string(),
        "number": pa.int64(),
        "status": pa.string(),  # of STATUSES
        "detail": pa.string(),
        "sha256": pa.string(),
        "phash": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "included": pa.bool_(),
    }
)
"""Columns of benchmark.parquet, with one row for each of the publisher's."""
IMAGES = pa.schema({"index": pa.int32(), "sha256": pa.string(), "image": pa.large_binary()})
"""Columns of images.parquet, with one row for each that is measured on."""
BATCH = 16  # images in memory at a time


def read(
    path: str,
    *,
    benchmark_parquet: str,
    images_parquet: str,
    summary_json: str,
    source: str,
    image_source: str,
    template: str,
    expected: str | None,
    max_bytes: int,
    image_limits: dict[str, int],
    follow_links: bool = False,
) -> None:
    """Publish a benchmark's rows (SCHEMA), its images (IMAGES) and the funnel between them.

    path: the publisher's file. source: one of ADAPTERS.
    image_source: the folder of images; for PixMo-Count also the Parquet file of check_links.py.
    template: see `captions.from_noun`, for rows without a caption. expected: sha256 of `path`.
    max_bytes: of an image file. image_limits: max_pixels and min_side (`image_checks.examine`).
    follow_links: whether images may be links to files outside their folder.
    Raises ValueError if the file is not as `source` says, or no row is left.
    """
    if expected and sha256(path) != expected:
        raise ValueError(f"{path}: its sha256 is {sha256(path)}, not {expected}: get it anew")
    if not Path(image_source).exists():
        raise ValueError(
            f"{image_source}: no such folder; the benchmark's key `images` must name one"
        )
    folder = ImageFolder(Path(image_source), follow_links)
    entries = ADAPTERS[source].read(Path(path), folder)
    _check_types(entries, path)
    rows: list[dict[str, Any]] = []
    pending = iter(progress(entries, unit="row", desc="rows"))
    with (
        publish(images_parquet) as temporary,
        pq.ParquetWriter(temporary, IMAGES, compression="zstd") as writer,
    ):
        while batch := list(islice(pending, BATCH)):
            included = []
            for entry in batch:
                row, body = _checked_row(entry, len(rows), template, max_bytes, image_limits)
                rows.append(row)
                if row["included"]:
                    included.append({"index": row["index"], "sha256": row["sha256"], "image": body})
            if included:
                writer.write_table(pa.Table.from_pylist(included, schema=IMAGES))
        counts = _funnel(rows, source)
        if not counts["included"]:
            why = "; ".join(f"{n}: {STATUSES[status]}" for status, n in counts["left_out"].items())
            first = f"{rows[0]['place']}: {rows[0]['status']} {rows[0]['detail']}"
            raise ValueError(f"{path}: no row is left to measure on. {why}. {first}")
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), benchmark_parquet)
    write_json(counts, summary_json)


def rows_of(benchmark: str) -> dict[int, int]:
    """Index -> number of the rows that are measured on."""
    table = pq.read_table(benchmark, columns=["index", "number", "included"])
    return {row["index"]: row["number"] for row in table.to_pylist() if row["included"]}


def _checked_row(
    entry: Entry, index: int, template: str, max_bytes: int, image_limits: dict[str, int]
) -> tuple[dict[str, Any], bytes]:
    """A row in the columns of SCHEMA, with its status, and its image as bytes."""
    row = {"index": index, "place": entry.place, "number": entry.number, "included": False}
    try:
        row["caption"] = _caption(entry, template)
        body = _body(entry, max_bytes)
        facts, status, detail = examine(body, **image_limits)
        if status != "alive":
            raise Unusable(status, detail)
    except Unusable as error:
        file = f": {entry.image}" if isinstance(entry.image, Path) and "caption" in row else ""
        return {**row, "status": error.status, "detail": error.detail + file}, b""
    row |= {"status": "included", "detail": "", "included": True}
    return {**row, **facts._asdict()}, body


def _check_types(entries: list[Entry], path: str) -> None:
    """Raise ValueError for a row whose values have the wrong type."""
    if not entries:
        raise ValueError(f"{path}: has no row")
    for entry in entries:
        if type(entry.number) is not int or abs(entry.number) >= 2**31:
            raise ValueError(f"{path}: {entry.place}: {entry.number!r} is no number of things")
        texts = (entry.caption, entry.noun, entry.question)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{path}: {entry.place}: {texts} must be texts")
        if not isinstance(entry.image, Path | bytes | None):
            raise ValueError(f"{path}: {entry.place}: its image must be the bytes of a file")


def _caption(entry: Entry, template: str) -> str:
    if not entry.is_simple:
        raise Unusable("complex", entry.question[:200])
    noun = entry.noun or counted_noun(entry.question)
    if not (entry.caption or noun):
        raise Unusable("question", entry.question[:200])
    if entry.number not in NUMBERS:
        raise Unusable("number", str(entry.number))
    if not entry.caption:
        return from_noun(template, noun, entry.number)
    try:
        word_for(entry.caption, entry.number)
    except ValueError as error:
        raise Unusable("caption", entry.caption[:200]) from error
    return entry.caption


def _body(entry: Entry, max_bytes: int) -> bytes:
    if entry.image is None:
        raise Unusable("missing", "")
    try:
        body = entry.image if isinstance(entry.image, bytes) else read_file(entry.image, max_bytes)
    except Unusable as error:
        if error.status == "unreadable":
            raise Unusable("missing", error.detail) from error
        body = None
    if body is None or len(body) > max_bytes:
        raise Unusable(
            "too_large", f"countbench.request.max_bytes is {max_bytes}, raise it to take this image"
        )
    return body


def _funnel(rows: list[dict[str, Any]], source: str) -> dict[str, Any]:
    """Count the rows: all, those that are measured on, and the others by status."""
    count = Counter(row["status"] for row in rows)
    numbers = [row["number"] for row in rows if row["included"]]
    left_out = {status: count[status] for status in STATUSES if count[status]}
    left_out.pop("included", None)
    log.info("%d of %d rows are measured on", len(numbers), len(rows))
    for status, n in left_out.items():
        first = next(row for row in rows if row["status"] == status)
        log.info(
            "%d left out: %s; first %s: %s", n, STATUSES[status], first["place"], first["detail"]
        )
    return {
        "source": source,
        "rows": len(rows),
        "left_out": left_out,
        "included": len(numbers),
        "n_per_class": number_words.per_class(numbers),
    }
