"""Which pictures of the benchmark are still there, and what stands in for those that are not?

`audit` asks for every link and says what came. `repair` applies what a person decided in
repairs.csv and makes the benchmark that everything is measured on. Nothing is dropped silently:
each row keeps its place, with a status.
"""

import csv
import json
import logging
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import imagehash
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import requests

from countclip import network
from countclip.captions import NUMBERS, word_for
from countclip.files import progress, publish, sha256, write_json, write_table
from countclip.network import DownloadError
from countclip.pictures import Unusable, decode

log = logging.getLogger(__name__)

USABLE = ("alive", "moved")
AUDIT = ("index", "url", "final_url", "status", "detail")
ABOUT = ("sha256", "phash", "width", "height", "bytes")
REPAIR = ("index", "action", "url", "file", "sha256", "provenance", "license", "reason")
FLAT = 2.0
"""A picture whose grey values (0..255) deviate less than this shows nothing to count."""

SILENT = ("unreachable", "private_address", "timeout")
GATEWAY = ("http_407", "http_502", "http_503", "http_504")
"""What a proxy says for a host that it cannot reach: all of them together mean an outage."""


class OutageError(RuntimeError):
    """The machine itself is cut off, so nothing was learnt about the links."""


class Row(NamedTuple):
    """A row of the benchmark's list."""

    index: int
    url: str
    caption: str
    number: int


class Picture(NamedTuple):
    """What is known of a picture; `phash` in hex, 64 bits."""

    sha256: str
    phash: str
    width: int
    height: int
    bytes: int


def download_list(
    url: str | None,
    path: str | Path,
    *,
    expected: str | None,
    max_bytes: int,
    environment: dict[str, str],
) -> None:
    """Download the benchmark's list to `path`; DownloadError unless its sha256 is `expected`.

    environment: as `connection` yields it (connection.py).
    """
    if url is None or expected is None:
        raise ValueError(
            f"{path} is downloaded: set countbench.list_url and list_sha256, or countbench.list to "
            "a file of yours"
        )
    session = network.session(environment)
    body = network.get(url, session=session, max_bytes=max_bytes, retries=5).body
    if (actual := sha256(body)) != expected:
        detail = f"is {actual}, countbench.list_sha256 says {expected}"
        raise DownloadError(url, "wrong_sha256", detail)
    with publish(path) as temporary:
        temporary.write_bytes(body)


def load(path: str | Path) -> list[Row]:
    """The benchmark's list, in the format of CountBench.json; ValueError names a wrong row."""
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f"{path}: must be a list of {{image_url, text, number}}, with a row or more"
        )
    rows = []
    for index, entry in enumerate(entries):
        try:
            row = Row(index, entry["image_url"], entry["text"], entry["number"])
            if not (isinstance(row.url, str) and isinstance(row.caption, str)):
                raise ValueError("image_url and text must be strings")
            if row.number not in NUMBERS:
                raise ValueError(f"number is {row.number!r}, not one of {NUMBERS}")
            word_for(row.caption, row.number)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: row {index}: {error!r}; correct this row") from error
        rows.append(row)
    return rows


def examine(body: bytes, max_pixels: int, min_side: int) -> tuple[Picture, str, str]:
    """What a picture is, and its status with evidence: `alive`, `too_small` or `placeholder`."""
    image = decode(body, max_pixels)
    grey = image.convert("L")
    picture = Picture(sha256(body), str(imagehash.phash(grey)), *image.size, len(body))
    if min(image.size) < min_side:
        return picture, "too_small", f"{image.width} x {image.height} pixels"
    if np.asarray(grey).std() < FLAT:
        return picture, "placeholder", "a flat picture"
    return picture, "alive", ""


def near(a: str, b: str, distance: int) -> bool:
    """Whether two perceptual hashes (hex) differ in at most `distance` bits."""
    return (int(a, 16) ^ int(b, 16)).bit_count() <= distance


# ---- audit ----


def audit(
    list_path: str,
    audit_csv: str,
    images: str,
    *,
    state: str,
    environment: dict[str, str],
    threads: int,
    request: dict[str, Any],
    picture: dict[str, Any],
) -> None:
    """Ask for every picture and publish a status with evidence per row, and what came as it came.

    state: folder that keeps the answers of an audit that was killed.
    environment: as `connection` yields it (connection.py).
    threads: links asked for at a time. request: the arguments of `network.get`.
    picture: max_pixels; min_side; placeholder_urls and placeholder_distance: a picture that so
        many addresses share, within so many bits of its perceptual hash, is a placeholder.
    Raises OutageError, and publishes nothing, when the machine reaches nobody.
    """
    rows = load(list_path)
    answers = _ask_all(rows, Path(state), environment, threads, **request)
    limits = {key: picture[key] for key in ("max_pixels", "min_side")}
    records = [_record(row, *answers[row.index], limits) for row in rows]
    _mark_placeholders(records, picture["placeholder_urls"], picture["placeholder_distance"])
    table = pd.DataFrame(records, columns=[*AUDIT, *ABOUT])
    table = table.astype(dict.fromkeys(("width", "height", "bytes"), "Int64"))
    decoded = table[table["sha256"].notna()]
    _write_images(decoded["index"], [answers[i][0]["body"] for i in decoded["index"]], images)
    with publish(audit_csv) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    shutil.rmtree(state, ignore_errors=True)
    log.info("%d links: %s", len(rows), _counts(table["status"]))


def _ask_all(
    rows: list[Row], state: Path, environment: dict[str, str], threads: int, **request: Any
) -> dict[int, tuple[dict[str, Any], str]]:
    """Row index -> its answer (body, url, type) and, where none came, the reason."""
    state.mkdir(parents=True, exist_ok=True)
    local = threading.local()

    def ask(row: Row) -> tuple[dict[str, Any], str]:
        kept = state / f"{row.index}.answer"
        if kept.exists():
            head, body = kept.read_bytes().split(b"\n", 1)
            head = json.loads(head)
            return {**head, "body": body}, head.pop("reason")
        if not hasattr(local, "session"):
            local.session = network.session(environment)
        body, head, reason = b"", {"url": "", "type": ""}, ""
        try:
            body, url, content_type = network.get(row.url, session=local.session, **request)
            head = {"url": url, "type": content_type}
        except DownloadError as error:
            log.debug("row %d: %s", row.index, error)
            reason = error.reason
        if reason not in (*SILENT, *GATEWAY):  # silence is asked again when the audit goes on
            with publish(kept) as temporary:
                temporary.write_bytes(
                    json.dumps({**head, "reason": reason}).encode() + b"\n" + body
                )
        return {**head, "body": body}, reason

    if known := len(list(state.glob("*.answer"))):
        log.info("going on from %d answers in %s; delete it to ask anew", known, state)
    answers, silent, heard = {}, 0, 0
    patience = max(2 * threads, 40)
    with ThreadPoolExecutor(threads) as pool:
        futures = {pool.submit(ask, row): row.index for row in rows}
        try:
            done = progress(as_completed(futures), len(rows), "link", "audit")
            for future in done:
                answers[futures[future]] = answer = future.result()
                if answer[1] in (*SILENT, *GATEWAY):
                    silent += 1
                elif answer[1] != "bad_url":  # which nobody was asked for
                    silent, heard = 0, heard + 1
                if silent >= patience or (silent and not heard and len(answers) == len(rows)):
                    raise OutageError(
                        f"{silent} requests in a row reached nobody (the last: {answer[1]}): this"
                        " machine seems to be offline, or behind a proxy that it does not use."
                        " Nothing was published and no earlier audit touched."
                        " Restore the network and run again; answers so far are kept."
                    )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return answers


def _record(
    row: Row, answer: dict[str, Any], reason: str, limits: dict[str, int]
) -> dict[str, Any]:
    """One line of audit.csv. The evidence holds nothing that differs between two equal runs."""
    record = {"index": row.index, "url": row.url, "final_url": answer["url"]}
    if reason:
        return {**record, "status": _status_of(reason), "detail": reason}
    try:
        picture, status, detail = examine(answer["body"], **limits)
    except Unusable as error:
        detail = f"{error.detail}, sent as {answer['type'][:80] or 'no type'}"
        return {**record, "status": error.status, "detail": detail}
    if status == "alive" and answer["url"] != requests.Request("GET", row.url).prepare().url:
        status, detail = "moved", "redirected"
    return {**record, "status": status, "detail": detail, **picture._asdict()}


def _status_of(reason: str) -> str:
    if reason.startswith("http_"):
        code = int(reason.removeprefix("http_"))
        if code in (401, 403, 407, 451):
            return "forbidden"
        return "server_error" if code == 429 or code >= 500 else "dead"
    known = {"timeout": "timeout", "too_large": "undecodable", "truncated": "undecodable"}
    return known.get(reason, "unreachable")


def _mark_placeholders(records: list[dict[str, Any]], urls: int, distance: int) -> None:
    """A picture that `urls` distinct addresses show is what hosts send for one that is gone.
    Rows with one address in common count once: CountBench has two such pairs."""
    seen = [(record["phash"], record["url"]) for record in records if "phash" in record]
    for record in records:
        if record["status"] in USABLE:
            same = {url for phash, url in seen if near(phash, record["phash"], distance)}
            if len(same) >= urls:
                detail = f"the same picture at {len(same)} addresses"
                record.update(status="placeholder", detail=detail)


# ---- repair ----


def repair(
    list_path: str,
    audit_csv: str,
    audited_images: str,
    repairs_csv: str,
    benchmark: str,
    images: str,
    summary: str,
    *,
    environment: dict[str, str],
    request: dict[str, Any],
    picture: dict[str, Any],
) -> None:
    """Apply repairs.csv to the audit and publish the benchmark, its pictures and their count.

    Raises ValueError that lists every wrong line of repairs.csv, and what to do about it.
    """
    rows = load(list_path)
    audited = pd.read_csv(audit_csv, keep_default_na=False, dtype={"sha256": str, "phash": str})
    if audited["url"].tolist() != [row.url for row in rows]:
        raise ValueError(f"{audit_csv} is not an audit of {list_path}: delete it and run again")
    table = pq.read_table(audited_images)
    bodies = dict(zip(table["index"].to_pylist(), table["image"].to_pylist(), strict=True))
    records = []
    for row, seen in zip(rows, audited.to_dict("records"), strict=True):
        about = {key: seen[key] for key in ABOUT} if row.index in bodies else {}
        records.append(
            {**row._asdict(), "status": seen["status"], "provenance": "original link", **about}
        )
    placeholders = [r["phash"] for r in records if r["status"] == "placeholder"]
    problems = []
    session = network.session(environment)
    repairs = read_repairs(Path(repairs_csv), len(rows), problems)
    for line, entry in progress(repairs, unit="repair", desc="repairs"):
        record = records[entry["index"]]
        try:
            if entry["action"] == "exclude":
                record["status"] = "excluded"
            elif entry["action"] == "accept":
                _accept(entry, record)
            else:
                body = _fetch(entry, Path(repairs_csv).parent, session, request)
                about = _verify(entry, body, picture, placeholders)
                bodies[record["index"]] = body
                record.update(about._asdict(), status="repaired", provenance=entry["provenance"])
        except (Unusable, ValueError, OSError, DownloadError) as error:
            problems.append(f"line {line} (index {entry['index']}): {error}")
    if problems:
        raise ValueError(f"{repairs_csv}: {len(problems)} wrong\n  " + "\n  ".join(problems))
    _publish(records, bodies, benchmark, images, summary)


def read_repairs(path: Path, rows: int, problems: list[str]) -> list[tuple[int, dict[str, Any]]]:
    """The lines of repairs.csv that read well, with their numbers; the others' `problems`."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if sorted(reader.fieldnames or ()) != sorted(REPAIR):
            raise ValueError(f"{path}: the first line must name the columns {','.join(REPAIR)}")
        repairs, seen = [], {}
        for entry in reader:
            line = reader.line_num
            try:
                if None in entry or None in entry.values():
                    raise ValueError(f"must have {len(REPAIR)} fields; quote a field with a comma")
                entry = {key: value.strip() for key, value in entry.items()}
                text, action = entry["index"], entry["action"]
                if not text.isdecimal() or int(text) >= rows:
                    raise ValueError(f"index {text!r} must be a row of the list, 0 to {rows - 1}")
                index = int(text)
                if index in seen:
                    raise ValueError(f"index {index} was on line {seen[index]}: keep one of them")
                seen[index] = line
                if action not in ("replace", "exclude", "accept"):
                    raise ValueError(f"action {action!r} must be replace, exclude or accept")
                needed = "provenance" if action == "replace" else "reason"
                if not entry[needed]:
                    raise ValueError(f"{action} needs a {needed}: fill in that column")
                if (action == "replace") != (bool(entry["url"]) != bool(entry["file"])):
                    raise ValueError("replace needs a url or a file, and only one; others neither")
                repairs.append((line, {**entry, "index": index}))
            except ValueError as error:
                problems.append(f"line {line}: {error}")
    return repairs


def _accept(entry: dict[str, Any], record: dict[str, Any]) -> None:
    if "sha256" not in record:
        raise ValueError(
            f"the audit found no picture to accept ({record['status']}): replace or exclude it"
        )
    if entry["sha256"] and entry["sha256"] != record["sha256"]:
        raise ValueError(
            f"the link now shows another picture (sha256 {record['sha256']}): look at it again,"
            " then correct sha256 or replace it"
        )
    record.update(status="accepted", provenance=entry["provenance"] or record["provenance"])


def _fetch(
    entry: dict[str, Any], folder: Path, session: requests.Session, request: dict[str, Any]
) -> bytes:
    if entry["url"]:
        return network.get(entry["url"], session=session, **request).body
    path = (folder / entry["file"]).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"file {entry['file']!r} lies outside {folder}: put it there")
    if not path.is_file():
        raise ValueError(f"no file {path}: put it there or correct the column file")
    if path.stat().st_size > request["max_bytes"]:
        raise ValueError(f"{path} has more than {request['max_bytes']} bytes: make it smaller")
    return path.read_bytes()


def _verify(
    entry: dict[str, Any], body: bytes, picture: dict[str, Any], placeholders: list[str]
) -> Picture:
    """What the replacement is; an error unless it is the picture meant, and one to count in."""
    about, status, detail = examine(body, picture["max_pixels"], picture["min_side"])
    if entry["sha256"] and entry["sha256"] != about.sha256:
        raise ValueError(
            f"sha256 is {about.sha256}: look at the picture, then correct the column sha256 or"
            " the url or file"
        )
    if any(near(about.phash, known, picture["placeholder_distance"]) for known in placeholders):
        status, detail = "placeholder", "the same picture as a placeholder of the audit"
    if status != "alive":
        raise Unusable(status, f"{detail}; give another picture, or exclude the row")
    return about


def _publish(
    records: list[dict[str, Any]],
    bodies: dict[int, bytes],
    benchmark: str,
    images: str,
    summary: str,
) -> None:
    for record in records:
        record["included"] = record["status"] in (*USABLE, "repaired", "accepted")
    included = [record for record in records if record["included"]]
    if not included:
        raise ValueError("no picture of the benchmark is left to measure on: see audit.csv")
    schema = pa.schema(
        [
            ("index", pa.int32()),
            ("url", pa.string()),
            ("caption", pa.string()),
            ("number", pa.int8()),
            ("status", pa.string()),
            ("provenance", pa.string()),
            ("sha256", pa.string()),
            ("phash", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("included", pa.bool_()),
        ]
    )
    # The CSV between the two rules has no types of its own.
    whole = [{**r, **{k: int(r[k]) for k in ("width", "height") if k in r}} for r in records]
    write_table(pa.Table.from_pylist(whole, schema=schema), benchmark)
    _write_images([r["index"] for r in included], [bodies[r["index"]] for r in included], images)
    per_class = Counter(record["number"] for record in included)
    by_status = Counter(record["status"] for record in records)
    counts = {
        "rows": len(records),
        "n": len(included),
        "n_per_class": {str(number): per_class[number] for number in NUMBERS},
        "by_status": dict(by_status),
        "missing": [record["index"] for record in records if not record["included"]],
    }
    write_json(counts, summary)
    log.info("n = %d of %d rows: %s", len(included), len(records), counts["by_status"])


def _write_images(indices: Any, bodies: list[bytes], path: str) -> None:
    columns = {
        "index": pa.array(indices, pa.int32()),
        "sha256": [sha256(body) for body in bodies],
        "image": pa.array(bodies, pa.large_binary()),
    }
    write_table(pa.table(columns), path)


def _counts(values: Any) -> str:
    return ", ".join(f"{n} {value}" for value, n in sorted(Counter(values).items()))
