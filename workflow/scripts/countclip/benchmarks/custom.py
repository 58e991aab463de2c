"""Further benchmarks: rows of any adapter, judged and stored as CountBench's are.

No row goes silently: it keeps its place, with the reason why it is left out.
"""

import logging
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from countclip.benchmarks import countbench, image_checks
from countclip.benchmarks.adapters import ADAPTERS, Entry, noun_of
from countclip.data import number_words
from countclip.data.captions import from_noun
from countclip.data.images import Unusable
from countclip.data.number_words import NUMBERS, word_for
from countclip.runtime.files import progress, publish, sha256, write_json, write_table

log = logging.getLogger(__name__)

STATUSES = {
    "included": "is measured on",
    "complex": "its publisher calls the question complex",
    "question": "its question is more than how many of something there are",
    "number": "its number is not one of two to ten",
    "caption": "its caption does not name its number as a whole word",
    "missing": "its picture is not there",
    "too_large": "its picture's file has too many bytes",
    "undecodable": countbench.STATUSES["undecodable"],
    "not_an_image": countbench.STATUSES["not_an_image"],
    "too_small": countbench.STATUSES["too_small"],
    "placeholder": "its picture shows nothing to count: it is flat, or stands in for another",
}
"""What becomes of a row, in the order in which it is asked."""
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
"""Of benchmark.parquet, with one row for each of the publisher's."""
IMAGES = pa.schema({"index": pa.int32(), "sha256": pa.string(), "image": pa.large_binary()})
"""Of images.parquet, with one row for each that is measured on."""
BATCH = 16  # pictures that are in memory at a time


def read(
    path: str,
    benchmark: str,
    images: str,
    summary: str,
    *,
    source: str,
    pictures: str,
    template: str,
    expected: str | None,
    max_bytes: int,
    picture: dict[str, int],
) -> None:
    """Publish a benchmark's rows (SCHEMA), its pictures (IMAGES) and the funnel between them.

    path: the publisher's file. source: one of ADAPTERS. pictures: the folder that they are in; of
        PixMo-Count, what its addresses answered, if not a folder.
    template: see `captions.from_noun`, for rows without a caption. expected: sha256 of `path`.
    max_bytes: of a picture's file. picture: max_pixels and min_side (`image_checks.examine`).
    Raises ValueError for a file that is not what `source` says, and when no row is left.
    """
    if expected and sha256(path) != expected:
        raise ValueError(f"{path}: its sha256 is {sha256(path)}, not {expected}: get it anew")
    if not Path(pictures).exists():
        raise ValueError(f"{pictures}: no such folder; the benchmark's key `images` must name one")
    entries = ADAPTERS[source].read(Path(path), Path(pictures))
    _check(entries, path)
    rows: list[dict[str, Any]] = []
    pending = iter(progress(entries, unit="row", desc="rows"))
    with (
        publish(images) as temporary,
        pq.ParquetWriter(temporary, IMAGES, compression="zstd") as writer,
    ):
        while batch := list(islice(pending, BATCH)):
            kept = []
            for entry in batch:
                row, body = _judge(entry, len(rows), template, max_bytes, picture)
                rows.append(row)
                if row["included"]:
                    kept.append({"index": row["index"], "sha256": row["sha256"], "image": body})
            if kept:
                writer.write_table(pa.Table.from_pylist(kept, schema=IMAGES))
        counts = _funnel(rows, source)
        if not counts["included"]:
            why = "; ".join(f"{n}: {STATUSES[status]}" for status, n in counts["left_out"].items())
            first = f"{rows[0]['place']}: {rows[0]['status']} {rows[0]['detail']}"
            raise ValueError(f"{path}: no row is left to measure on. {why}. {first}")
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), benchmark)
    write_json(counts, summary)


def rows_of(benchmark: str) -> dict[int, int]:
    """Index -> number of the rows that are measured on."""
    table = pq.read_table(benchmark, columns=["index", "number", "included"])
    return {row["index"]: row["number"] for row in table.to_pylist() if row["included"]}


def _judge(
    entry: Entry, index: int, template: str, max_bytes: int, picture: dict[str, int]
) -> tuple[dict[str, Any], bytes]:
    """What becomes of a row, in the columns of SCHEMA, and the bytes of its picture."""
    row = {"index": index, "place": entry.place, "number": entry.number, "included": False}
    try:
        row["caption"] = _caption(entry, template)
        body = _body(entry, max_bytes)
        about, status, detail = image_checks.examine(body, **picture)
        if status != "alive":
            raise Unusable(status, detail)
    except Unusable as error:
        return {**row, "status": error.status, "detail": error.detail}, b""
    row |= {"status": "included", "detail": "", "included": True}
    return {**row, **about._asdict()}, body


def _check(entries: list[Entry], path: str) -> None:
    """ValueError for a row with values of another kind than such a file has."""
    if not entries:
        raise ValueError(f"{path}: has no row")
    for entry in entries:
        if type(entry.number) is not int or abs(entry.number) >= 2**31:
            raise ValueError(f"{path}: {entry.place}: {entry.number!r} is no number of things")
        texts = (entry.caption, entry.noun, entry.question)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{path}: {entry.place}: {texts} must be texts")
        if not isinstance(entry.picture, Path | bytes | None):
            raise ValueError(f"{path}: {entry.place}: its picture must be the bytes of a file")


def _caption(entry: Entry, template: str) -> str:
    if not entry.is_simple:
        raise Unusable("complex", entry.question[:200])
    noun = entry.noun or noun_of(entry.question)
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
    if entry.picture is None:
        raise Unusable("missing", "")
    if isinstance(entry.picture, Path):
        if not entry.picture.is_file():
            raise Unusable("missing", str(entry.picture))
        with open(entry.picture, "rb") as file:
            body = file.read(max_bytes + 1)
    else:
        body = entry.picture
    if len(body) > max_bytes:
        raise Unusable("too_large", f"more than {max_bytes} bytes")
    return body


def _funnel(rows: list[dict[str, Any]], source: str) -> dict[str, Any]:
    """How many rows there are, how many are measured on, and why the others are not."""
    found = Counter(row["status"] for row in rows)
    numbers = [row["number"] for row in rows if row["included"]]
    left_out = {status: found[status] for status in STATUSES if found[status]}
    left_out.pop("included", None)
    log.info("%d of %d rows are measured on", len(numbers), len(rows))
    for status, n in left_out.items():
        log.info("%d left out: %s", n, STATUSES[status])
    return {
        "source": source,
        "rows": len(rows),
        "left_out": left_out,
        "included": len(numbers),
        "n_per_class": number_words.per_class(numbers),
    }
