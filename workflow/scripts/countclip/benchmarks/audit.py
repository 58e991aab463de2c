"""What do the answers of the benchmark's links mean?

A status with evidence for each, which holds nothing that differs between two equal runs; the
pictures that came; and the lock file, which records what was seen, so that a later audit notices
when a link shows something else.
"""

import csv
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
from countclip.benchmarks.image_checks import PICTURE, examine
from countclip.benchmarks.store import write_images
from countclip.data.images import Unusable
from countclip.data.near_duplicates import apart
from countclip.runtime.files import publish

log = logging.getLogger(__name__)

COLUMNS = (
    *("index", "url", "final_url", "status", "detail"),
    *PICTURE,
    *("http", "content_type", "lock_distance"),
)
"""Of audit.csv. `bytes` is known of every body, the rest of PICTURE of pictures alone;
`lock_distance` is by how many bits the perceptual hash differs from the one in the lock file."""
LOCK = ("index", "url", "sha256", "phash", "width", "height", "bytes", "date")
REMOVED = re.compile(
    r"unavailable|(?<![a-z])no[-_]?(image|photo|picture)|placeholder|removed|deleted"
    r"|not[-_]?(found|available)",
    re.I,
)
"""Names of the pictures that a host redirects to when it has lost the one asked for."""


def audit(
    list_path: str,
    answers: str,
    audit_csv: str,
    images: str,
    *,
    picture: dict[str, Any],
    lock: str | None = None,
) -> None:
    """Publish a status with evidence for each row (COLUMNS), and the pictures that came.

    answers: of check_links.ask. lock: a lock file (LOCK), if any.
    picture: max_pixels; min_side; placeholder_urls and placeholder_distance: a picture that so
        many addresses share, within so many bits of its perceptual hash, is a placeholder;
        changed_distance: a picture that is more bits away from the lock file's is another one.
    """
    rows = load(list_path)
    table = pq.read_table(answers)
    if table["url"].to_pylist() != [row.url for row in rows]:
        raise ValueError(f"{answers} are not the answers for {list_path}: delete it and run again")
    locked = read_lock(lock) if lock else {}
    records, pictures = [], {}
    for row, answer in zip(rows, table.to_pylist(), strict=True):
        record = _record(row, answer, picture["max_pixels"], picture["min_side"])
        if "phash" in record:
            pictures[row.index] = answer["body"]
        records.append(record)
    _mark_placeholders(records, picture["placeholder_urls"], picture["placeholder_distance"])
    _compare(records, locked, picture["changed_distance"])
    frame = pd.DataFrame(records, columns=list(COLUMNS))
    whole = ("width", "height", "bytes", "http", "lock_distance")
    write_images(list(pictures), list(pictures.values()), images)
    with publish(audit_csv) as temporary:
        frame.astype(dict.fromkeys(whole, "Int64")).to_csv(
            temporary, index=False, lineterminator="\n"
        )
    log.info("%d links: %s", len(rows), dict(sorted(Counter(frame["status"]).items())))


def _record(row: Row, answer: dict[str, Any], max_pixels: int, min_side: int) -> dict[str, Any]:
    """One line of audit.csv, as far as it follows from this answer alone."""
    record = {key: answer[key] for key in ("index", "url", "final_url", "http", "content_type")}
    # What a host sends is no formula for whoever opens the table as a spreadsheet.
    record["content_type"] = record["content_type"].lstrip("=+-@ \t")[:80]
    if reason := answer["reason"]:
        return {**record, "status": _status_of(reason), "detail": reason}
    record["bytes"] = len(answer["body"])
    try:
        picture, status, detail = examine(answer["body"], max_pixels, min_side)
    except Unusable as error:
        sent = record["content_type"] or "no type"
        return {**record, "status": error.status, "detail": f"{error.detail}, sent as {sent}"}
    if status == "alive" and answer["final_url"] != requests.Request("GET", row.url).prepare().url:
        status, detail = "moved", "redirected"
        name = REMOVED.search(urlsplit(answer["final_url"]).path)
        if name and not REMOVED.search(row.url):
            status, detail = "placeholder", f"redirected to an address with {name[0]!r}"
    return {**record, "status": status, "detail": detail, **picture._asdict()}


def _status_of(reason: str) -> str:
    """Of countbench.STATUSES, for a reason why no body came (network.DownloadError)."""
    if reason.startswith("http_"):
        code = int(reason.removeprefix("http_"))
        if code in (404, 410):
            return "dead"
        return "server_error" if code in (408, 425, 429) or code >= 500 else "forbidden"
    if reason in ("too_large", "truncated"):
        return "undecodable"
    return reason if reason in ("timeout", "dns", "tls", "not_allowed") else "unreachable"


def _mark_placeholders(records: list[dict[str, Any]], urls: int, distance: int) -> None:
    """A picture that `urls` distinct addresses show is what hosts send for one that is gone.
    Rows with one address in common count once: CountBench has two such pairs."""
    seen = [(record["phash"], record["url"]) for record in records if "phash" in record]
    for record in records:
        if record["status"] in USABLE:
            same = {url for phash, url in seen if apart(phash, record["phash"]) <= distance}
            if len(same) >= urls:
                detail = f"the same picture at {len(same)} addresses"
                record.update(status="placeholder", detail=detail)


# ---- the lock file ----


def _compare(records: list[dict[str, Any]], locked: dict[str, Any], distance: int) -> None:
    """A picture far from the recorded one is another; one that is near was merely encoded anew."""
    for record in records:
        known = locked.get(record["url"])
        if known is None or "phash" not in record:
            continue
        bits = record["lock_distance"] = apart(record["phash"], known["phash"])
        if record["status"] in USABLE and record["sha256"] != known["sha256"]:
            if bits > distance:
                detail = f"{bits} of 64 bits from the picture of {known['date']}"
                record.update(status="changed", detail=detail)
            else:
                detail = f"re-encoded since {known['date']}, {bits} of 64 bits apart"
                record["detail"] = "; ".join(filter(None, [record["detail"], detail]))


def read_lock(path: str | Path) -> dict[str, dict[str, str]]:
    """URL -> its line of a lock file; ValueError names a wrong line."""
    found = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is None or set(reader.fieldnames) != set(LOCK):
            raise ValueError(f"{path}: the first line must name the columns {','.join(LOCK)}")
        for line in reader:
            if not all(map(line.get, LOCK)) or not re.fullmatch("[0-9a-f]{16}", line["phash"]):
                raise ValueError(
                    f"{path}: line {reader.line_num}: all {len(LOCK)} fields are needed, the phash"
                    " with 16 hex digits: delete this line, or make the file anew"
                )
            found[line["url"]] = line
    return found


def write_lock(audit_csv: str, lock: str, earlier: str | None = None) -> None:
    """Publish what an audit saw as a lock file: every usable row with today's date (UTC).

    A line of the earlier lock file stays as it is where the same file was seen, and also where the
    link does not show its picture any more, so that the record of it is not lost.
    """
    known = read_lock(earlier) if earlier else {}
    today = datetime.now(UTC).date().isoformat()
    lines = []
    for seen in pd.read_csv(audit_csv, keep_default_na=False, dtype=str).to_dict("records"):
        line = known.get(seen["url"])
        if seen["status"] in USABLE and (line is None or line["sha256"] != seen["sha256"]):
            line = {**seen, "date": today}
        if line is not None:
            lines.append({**line, "index": seen["index"]})
    with publish(lock) as temporary:
        pd.DataFrame(lines, columns=list(LOCK)).to_csv(temporary, index=False, lineterminator="\n")
    log.info("%d pictures; copy %s to where countbench.lock shall point", len(lines), lock)
