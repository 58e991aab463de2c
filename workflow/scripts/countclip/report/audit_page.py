"""The audit page, on which a person decides which images replace the benchmark's dead links.

It needs no server: every row with its image, caption, status and evidence, and a form whose
download is a ready repairs.csv. resources/audit.html.jinja is its frame, audit.css its style and
audit.js its behaviour.
"""

import base64
import io
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from countclip.benchmarks import countbench
from countclip.benchmarks.repairs_csv import COLUMNS, read_repairs
from countclip.data import number_words
from countclip.data.images import decode
from countclip.data.number_words import NUMBERS, WORDS, word_for
from countclip.report import pages
from countclip.runtime.files import parquet_batches, progress, sha256, write_text

log = logging.getLogger(__name__)

PICTURES = 9_000_000
"""Bytes of all images of a page together: 12 MB in base64, for a page of at most 15 MB."""
SIZES = ((400, 75), (360, 70), (320, 60), (256, 50), (192, 40), (128, 30))
"""Longer side in pixels and JPEG quality, tried in turn until an image fits its share."""
LONGEST = 500
"""Characters of a text from the web that the page shows at most."""
AROUND = 40
"""Characters of a caption that a card shows before its number word; twice as many after it.

So the number word stands in the card's first lines.
"""
ELSEWHERE = ("index", "url", "status", "detail", "width", "height", "bytes", "sha256", "phash")
"""Columns of audit.csv that the page shows in their own places; any other is evidence."""


def render_audit(
    *,
    list_json: str,
    audit_csv: str,
    audited_images: str,
    repairs_csv: str,
    suggestions_csv: str,
    benchmark: str,
    images: str,
    template: str,
    page: str,
    scale: str,
    save_as: str,
    intersection: str | None = None,
) -> None:
    """Publish the page of an audit and its repairs.

    suggestions_csv: undecided lines in the format of repairs.csv.
    benchmark, images: as `repairs.repair` publishes them; n is counted there.
    scale: as in the config. save_as: the path of repairs.csv that the page shows.
    intersection: list of rows that are counted, if there is one (countbench.rows_of).
    ValueError when the files are not of one audit.
    """
    rows = countbench.load(list_json)
    audited = pd.read_csv(audit_csv, keep_default_na=False, dtype=str)
    measured = pd.read_parquet(benchmark)
    for path, urls in ((audit_csv, audited["url"]), (benchmark, measured["url"])):
        if urls.tolist() != [row.url for row in rows]:
            raise ValueError(f"{path} is not of {list_json}: delete it and run again")
    decided, suggested = (_lines(path, len(rows)) for path in (repairs_csv, suggestions_csv))
    repaired = set(measured["index"][measured["status"] == "repaired"])
    share = PICTURES // (len(rows) + len(suggested))
    shown = _thumbnails(audited_images, share, without=repaired)
    shown |= _thumbnails(images, share, only=repaired)
    for line in suggested.values():
        file = Path(suggestions_csv).parent / line["file"]
        line["picture"] = thumbnail(decode(file.read_bytes()), share) if line["file"] else ""
    records = audited.to_dict("records")
    usable = audited["status"].isin(countbench.USABLE)
    counted = {name: measured["number"][measured[name]] for name in ("original", "repaired")}
    if intersection:
        counted_rows = countbench.rows_of("intersection", benchmark, intersection)
        counted["intersection"] = pd.Series(counted_rows)
    data = {
        "digest": sha256(audit_csv),
        "columns": COLUMNS,
        "repairs": decided,
        "offers": suggested,
        "offered": str(Path(suggestions_csv).parent),
        "means": {status: countbench.STATUSES[status] for status in sorted(set(audited["status"]))},
        "rows": [
            {**_details(row, record), "usable": bool(good), "mended": row.index in repaired}
            for row, record, good in zip(rows, records, usable, strict=True)
        ],
    }
    text = pages.render(
        template,
        styles=["page.css", "audit.css"],
        script="audit.js",
        stamp=pages.stamp(scale),
        save_as=save_as,
        cards=[
            _card(row, record["status"], shown) for row, record in zip(rows, records, strict=True)
        ],
        statuses=_statuses(audited["status"]),
        classes=_classes(rows, counted),
        variants=list(counted),
        data=data,
    )
    write_text(text, page)
    log.info("%s: %d rows, %d images, %.1f MB", page, len(rows), len(shown), len(text) / 1e6)


def _lines(path: str, rows: int) -> dict[int, dict[str, str]]:
    """Row index -> its line in a file in the format of repairs.csv."""
    problems: list[str] = []
    lines = read_repairs(Path(path), rows, problems)
    if problems:
        raise ValueError(f"{path}: {len(problems)} wrong\n  " + "\n  ".join(problems))
    return {entry.pop("index"): entry for _, entry in lines}


def _thumbnails(
    images: str, share: int, *, only: set[int] | None = None, without: set[int] = frozenset()
) -> dict[int, str]:
    """Row index -> its image as a data URI, of at most `share` bytes before base64."""
    stored = (row for batch in parquet_batches(images, 16) for row in batch.to_pylist())
    return {
        row["index"]: thumbnail(decode(row["image"]), share)
        for row in progress(stored, pq.read_metadata(images).num_rows, "image", "thumbnails")
        if row["index"] not in without and (only is None or row["index"] in only)
    }


def thumbnail(image: Image.Image, share: int) -> str:
    """An image (RGB) as a data URI of JPEG, as large as `share` bytes allow (SIZES)."""
    for side, quality in SIZES:
        small = image.copy()
        small.thumbnail((side, side))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=quality)
        if stream.tell() <= share:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _details(row: countbench.Row, record: dict[str, str]) -> dict[str, Any]:
    """Data of a row for the page's script; `evidence` holds the other columns of the audit."""
    evidence = {
        name.replace("_", " "): value[:LONGEST]
        for name, value in record.items()
        if name not in ELSEWHERE and value and value != row.url
    }
    if record["sha256"]:
        size = int(record["bytes"]) / 1000
        evidence["image"] = f"{record['width']} x {record['height']} pixels, {size:,.1f} kB"
    word = word_for(row.caption, row.number)
    return {
        "url": row.url,
        "caption": row.caption,
        "word": [word.start, word.end],
        "number": row.number,
        "status": record["status"],
        "detail": record["detail"][:LONGEST],
        "sha256": record["sha256"],
        "evidence": evidence,
    }


def _card(row: countbench.Row, status: str, shown: dict[int, str]) -> dict[str, Any]:
    """A row as the grid shows it, its caption cut around the number word."""
    word = word_for(row.caption, row.number)
    before, after = row.caption[: word.start], row.caption[word.end :]
    return {
        "index": row.index,
        "number": row.number,
        "name": WORDS[row.number],
        "before": before if len(before) <= AROUND else _end(before),
        "word": row.caption[word.start : word.end],
        "after": after if len(after) <= 2 * AROUND else f"{after[: 2 * AROUND]} …",
        "status": status,
        "usable": status in countbench.USABLE,
        "picture": shown.get(row.index),
    }


def _end(text: str) -> str:
    cut = text[-AROUND:]
    return f"… {cut.partition(' ')[2] or cut}"


def _statuses(statuses: pd.Series) -> list[dict[str, Any]]:
    """Each status and the number of its rows: usable ones first, then the most frequent."""
    counts = Counter(statuses)
    groups = [
        {
            "name": name,
            "usable": name in countbench.USABLE,
            "means": countbench.STATUSES[name],
            "rows": count,
        }
        for name, count in counts.items()
    ]
    return sorted(groups, key=lambda group: (not group["usable"], -group["rows"], group["name"]))


def _classes(rows: list[countbench.Row], counted: dict[str, pd.Series]) -> list[dict[str, Any]]:
    """Each class, the number of its rows, and how many of them each variant counts.

    counted: variant -> the numbers of its rows.
    """
    of_all = number_words.per_class(row.number for row in rows)
    counts = {name: number_words.per_class(numbers) for name, numbers in counted.items()}
    return [
        {
            "number": number,
            "name": WORDS[number],
            "rows": of_all[str(number)],
            **{name: count[str(number)] for name, count in counts.items()},
        }
        for number in NUMBERS
    ]
