"""What does a person look at, who decides which pictures of the benchmark stand in for dead links?

One page that needs no server: every row with its picture, caption, status and evidence, and a form
whose download is a ready repairs.csv. resources/audit.html.jinja is its frame, audit.css its looks
and audit.js its behaviour.
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
from countclip.runtime.files import progress, sha256, write_text

log = logging.getLogger(__name__)

PICTURES = 9_000_000
"""Bytes of all pictures of a page together; base64 makes 12 MB of them, of at most 15 in all."""
SIZES = ((400, 75), (360, 70), (320, 60), (256, 50), (192, 40), (128, 30))
"""Longer side in pixels and JPEG quality, tried in turn until a picture fits its share."""
LONGEST = 500
"""Characters of a text that came from the web; more says nothing to a reader."""
AROUND = 40
"""Characters of a caption that a card shows before its number word, which is then on its first
lines; twice as many after it."""
ELSEWHERE = ("index", "url", "status", "detail", "width", "height", "bytes", "sha256", "phash")
"""Columns of audit.csv that the page shows in their own places; any other is evidence."""


def render_audit(
    list_path: str,
    audit_csv: str,
    audited_images: str,
    repairs_csv: str,
    offered_csv: str,
    benchmark: str,
    images: str,
    template: str,
    page: str,
    *,
    scale: str,
    save_as: str,
    intersection: str | None = None,
) -> None:
    """Publish the page of an audit and its repairs.

    offered_csv: lines in the format of repairs.csv that nobody has decided on yet.
    benchmark, images: as `repairs.repair` publishes them; n is counted there.
    scale: as in the config. save_as: where the page says that repairs.csv goes.
    intersection: a list of rows, if they are counted by one (countbench.rows_of).
    Raises ValueError when the files are not of one audit.
    """
    rows = countbench.load(list_path)
    audited = pd.read_csv(audit_csv, keep_default_na=False, dtype=str)
    measured = pd.read_parquet(benchmark)
    for path, urls in ((audit_csv, audited["url"]), (benchmark, measured["url"])):
        if urls.tolist() != [row.url for row in rows]:
            raise ValueError(f"{path} is not of {list_path}: delete it and run again")
    decided, offered = (_lines(path, len(rows)) for path in (repairs_csv, offered_csv))
    repaired = set(measured["index"][measured["status"] == "repaired"])
    share = PICTURES // (len(rows) + len(offered))
    shown = _thumbnails(audited_images, share, without=repaired)
    shown |= _thumbnails(images, share, only=repaired)
    for line in offered.values():
        file = Path(offered_csv).parent / line["file"]
        line["picture"] = thumbnail(decode(file.read_bytes()), share) if line["file"] else ""
    seen = audited.to_dict("records")
    usable = audited["status"].isin(countbench.USABLE)
    counted = {name: measured["number"][measured[name]] for name in ("original", "repaired")}
    if intersection:
        rows_of_it = countbench.rows_of("intersection", benchmark, intersection)
        counted["intersection"] = pd.Series(rows_of_it)
    data = {
        "digest": sha256(audit_csv),
        "columns": COLUMNS,
        "repairs": decided,
        "offers": offered,
        "offered": str(Path(offered_csv).parent),
        "means": {status: countbench.STATUSES[status] for status in sorted(set(audited["status"]))},
        "rows": [
            {**_about(row, record), "usable": bool(good), "mended": row.index in repaired}
            for row, record, good in zip(rows, seen, usable, strict=True)
        ],
    }
    text = pages.render(
        template,
        styles=["page.css", "audit.css"],
        script="audit.js",
        stamp=pages.stamp(scale),
        save_as=save_as,
        cards=[_card(row, record["status"], shown) for row, record in zip(rows, seen, strict=True)],
        statuses=_statuses(audited["status"]),
        classes=_classes(rows, counted),
        variants=list(counted),
        data=data,
    )
    write_text(text, page)
    log.info("%s: %d rows, %d pictures, %.1f MB", page, len(rows), len(shown), len(text) / 1e6)


def _lines(path: str, rows: int) -> dict[int, dict[str, str]]:
    """Row index -> what a file in the format of repairs.csv says of it."""
    problems: list[str] = []
    lines = read_repairs(Path(path), rows, problems)
    if problems:
        raise ValueError(f"{path}: {len(problems)} wrong\n  " + "\n  ".join(problems))
    return {entry.pop("index"): entry for _, entry in lines}


def _thumbnails(
    images: str, share: int, *, only: set[int] | None = None, without: set[int] = frozenset()
) -> dict[int, str]:
    """Row index -> its picture as a data URI, of at most `share` bytes before base64."""
    file = pq.ParquetFile(images)
    batches = file.iter_batches(batch_size=16)
    stored = (row for batch in batches for row in batch.to_pylist())
    return {
        row["index"]: thumbnail(decode(row["image"]), share)
        for row in progress(stored, file.metadata.num_rows, "picture", "thumbnails")
        if row["index"] not in without and (only is None or row["index"] in only)
    }


def thumbnail(image: Image.Image, share: int) -> str:
    """A picture (RGB) as a data URI of JPEG, as large as `share` bytes allow (SIZES)."""
    for side, quality in SIZES:
        small = image.copy()
        small.thumbnail((side, side))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=quality)
        if stream.tell() <= share:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _about(row: countbench.Row, record: dict[str, str]) -> dict[str, Any]:
    """What the script knows of a row; `evidence` is all else that the audit says."""
    evidence = {
        name.replace("_", " "): value[:LONGEST]
        for name, value in record.items()
        if name not in ELSEWHERE and value and value != row.url
    }
    if record["sha256"]:
        size = int(record["bytes"]) / 1000
        evidence["picture"] = f"{record['width']} x {record['height']} pixels, {size:,.1f} kB"
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
    """A row as the grid shows it: with as much of its caption as lets the number word be seen."""
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
    """Each status that occurs with its rows: the usable ones first, then the most frequent."""
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
    """Each class with its rows, and how many of them each variant counts.

    counted: the numbers of the rows that a variant counts.
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
