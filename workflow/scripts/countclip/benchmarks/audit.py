"""Audit of the link check: statuses with evidence, the images, and the lock file.

The status and evidence hold nothing that differs between two equal runs. The lock file records the
images, so that a later audit notices a link that shows another one.
"""

import logging
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow.parquet as pq
import requests

from countclip.benchmarks.countbench import USABLE, Row, load
from countclip.benchmarks.image_checks import ImageFacts, examine
from countclip.benchmarks.store import write_images
from countclip.data.images import Unusable
from countclip.data.near_duplicates import hamming_distance
from countclip.runtime.csv_files import Columns, read_rows
from countclip.runtime.files import write_text

log = logging.getLogger(__name__)

COLUMNS = (
    *("index", "url", "final_url", "status", "detail"),
    *ImageFacts._fields,
    *("http", "content_type", "lock_distance"),
)
"""Columns of audit.csv. Every body has `bytes`; only an image has the other fields of ImageFacts.
`lock_distance` is the Hamming distance of the perceptual hash from that in the lock file."""
LOCK = ("index", "url", "sha256", "phash", "width", "height", "bytes", "date")
REMOVED = re.compile(
    r"unavailable|(?<![a-z])no[-_]?(image|photo|picture)|placeholder|removed|deleted"
    r"|not[-_]?(found|available)",
    re.I,
)
"""Parts of the address that a host redirects to when it has lost an image."""


def audit(
    *,
    list_json: str,
    answers_parquet: str,
    audit_csv: str,
    images_parquet: str,
    image_limits: dict[str, Any],
    lock_csv: str | None = None,
) -> None:
    """Publish a status with evidence for each row (COLUMNS), and the images.

    answers_parquet: of check_links.check_links. lock_csv: a lock file (LOCK), if any.
    image_limits: max_pixels; min_side; placeholder_urls and placeholder_distance: an image that so
        many addresses share, within so many bits of its perceptual hash, is a placeholder;
        changed_distance: an image that is more bits away from the lock file's is another one.
    """
    rows = load(list_json)
    table = pq.read_table(answers_parquet)
    if table["url"].to_pylist() != [row.url for row in rows]:
        raise ValueError(
            f"{answers_parquet} are not the answers for {list_json}: delete it and run again"
        )
    locked = read_lock(lock_csv) if lock_csv else {}
    records, images = [], {}
    for row, answer in zip(rows, table.to_pylist(), strict=True):
        record = _record(row, answer, image_limits["max_pixels"], image_limits["min_side"])
        if "phash" in record:
            images[row.index] = answer["body"]
        records.append(record)
    _mark_placeholders(
        records, image_limits["placeholder_urls"], image_limits["placeholder_distance"]
    )
    _compare(records, locked, image_limits["changed_distance"])
    frame = pd.DataFrame(records, columns=list(COLUMNS))
    integers = ("width", "height", "bytes", "http", "lock_distance")
    write_images(list(images), list(images.values()), images_parquet)
    frame = frame.astype(dict.fromkeys(integers, "Int64"))
    write_text(frame.to_csv(index=False, lineterminator="\n"), audit_csv)
    log.info("%d links: %s", len(rows), dict(sorted(Counter(frame["status"]).items())))


def _record(row: Row, answer: dict[str, Any], max_pixels: int, min_side: int) -> dict[str, Any]:
    """One line of audit.csv, as far as it follows from one answer alone."""
    record = {key: answer[key] for key in ("index", "url", "final_url", "http", "content_type")}
    # A spreadsheet must not take the text of a host for a formula.
    record["content_type"] = record["content_type"].lstrip("=+-@ \t")[:80]
    if reason := answer["reason"]:
        limit = ": more than countbench.request.max_bytes" if reason == "too_large" else ""
        return {**record, "status": _status_of(reason), "detail": f"{reason}{limit}"}
    record["bytes"] = len(answer["body"])
    try:
        facts, status, detail = examine(answer["body"], max_pixels, min_side)
    except Unusable as error:
        sent = record["content_type"] or "no type"
        return {**record, "status": error.status, "detail": f"{error.detail}, sent as {sent}"}
    if status == "alive" and answer["final_url"] != requests.Request("GET", row.url).prepare().url:
        status, detail = "moved", "redirected"
        name = REMOVED.search(urlsplit(answer["final_url"]).path)
        if name and not REMOVED.search(row.url):
            status, detail = "placeholder", f"redirected to an address with {name[0]!r}"
    return {**record, "status": status, "detail": detail, **facts._asdict()}


def _status_of(reason: str) -> str:
    """The status (countbench.STATUSES) for the reason of a failed request (DownloadError)."""
    if reason.startswith("http_"):
        code = int(reason.removeprefix("http_"))
        if code in (404, 410):
            return "dead"
        return "server_error" if code in (408, 425, 429) or code >= 500 else "forbidden"
    if reason in ("too_large", "truncated"):
        return "undecodable"
    return reason if reason in ("timeout", "dns", "tls", "not_allowed") else "unreachable"


def _mark_placeholders(records: list[dict[str, Any]], urls: int, distance: int) -> None:
    """Mark images that `urls` distinct addresses show: hosts send such for a removed image.

    Rows with the same address count once: CountBench has two such pairs.
    """
    images = [(record["phash"], record["url"]) for record in records if "phash" in record]
    for record in records:
        if record["status"] in USABLE:
            phash = record["phash"]
            same = {url for other, url in images if hamming_distance(phash, other) <= distance}
            if len(same) >= urls:
                detail = f"the same image at {len(same)} addresses"
                record.update(status="placeholder", detail=detail)


# ---- the lock file ----


def _compare(records: list[dict[str, Any]], locked: dict[str, Any], distance: int) -> None:
    """Compare images with the lock file: distant ones have changed, near ones were re-encoded."""
    for record in records:
        line = locked.get(record["url"])
        if line is None or "phash" not in record:
            continue
        bits = record["lock_distance"] = hamming_distance(record["phash"], line["phash"])
        if record["status"] in USABLE and record["sha256"] != line["sha256"]:
            if bits > distance:
                detail = f"{bits} of 64 bits from the image of {line['date']}"
                record.update(status="changed", detail=detail)
            else:
                detail = f"re-encoded since {line['date']}, {bits} of 64 bits apart"
                record["detail"] = "; ".join(filter(None, [record["detail"], detail]))


def read_lock(path: str | Path) -> dict[str, dict[str, str]]:
    """Read a lock file: URL -> its line. ValueError lists the wrong lines."""
    lines = read_rows(path, Columns(LOCK, only=True), _checked_lock)
    return {line["url"]: line for line in lines}


def _checked_lock(fields: dict[str, str], _: int) -> dict[str, str]:
    if not all(fields.values()) or not re.fullmatch("[0-9a-f]{16}", fields["phash"]):
        raise ValueError(
            f"all {len(LOCK)} fields are needed, the phash with 16 hex digits: delete this line, or"
            " make the file anew"
        )
    return fields


def write_lock(*, audit_csv: str, lock_csv: str, earlier_csv: str | None = None) -> None:
    """Publish the images of an audit as a lock file.

    Every usable row gets today's date (UTC). A line of the earlier lock file is not changed if the
    link shows the same file, or no image any more, so that its record is not lost.
    """
    earlier = read_lock(earlier_csv) if earlier_csv else {}
    today = datetime.now(UTC).date().isoformat()
    lines = []
    for record in pd.read_csv(audit_csv, keep_default_na=False, dtype=str).to_dict("records"):
        line = earlier.get(record["url"])
        if record["status"] in USABLE and (line is None or line["sha256"] != record["sha256"]):
            line = {**record, "date": today}
        if line is not None:
            lines.append({**line, "index": record["index"]})
    table = pd.DataFrame(lines, columns=list(LOCK))
    write_text(table.to_csv(index=False, lineterminator="\n"), lock_csv)
    log.info("%d images; copy %s to the path that countbench.lock names", len(lines), lock_csv)
