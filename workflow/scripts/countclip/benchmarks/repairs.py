"""How does a person mend the benchmark? With a line in repairs.csv, which is verified and applied.

replace: another address or file in the place of a picture that is gone; exclude: the row is not to
be counted; accept: the picture that the audit doubted is the right one.
"""

import logging
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import requests

from countclip.benchmarks.countbench import USABLE, load
from countclip.benchmarks.image_checks import PICTURE, Picture, examine
from countclip.benchmarks.repairs_csv import read_repairs
from countclip.benchmarks.store import write_images
from countclip.data.images import Unusable
from countclip.data.near_duplicates import apart
from countclip.data.number_words import per_class
from countclip.runtime import network
from countclip.runtime.files import progress, publish, sha256, write_json, write_table
from countclip.runtime.network import DownloadError

log = logging.getLogger(__name__)
SCHEMA = pa.schema(
    {
        "index": pa.int32(),
        "url": pa.string(),
        "caption": pa.string(),
        "number": pa.int8(),
        "status": pa.string(),  # of the audit, or excluded, accepted, repaired
        "provenance": pa.string(),
        "license": pa.string(),
        "sha256": pa.string(),
        "phash": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "original": pa.bool_(),  # see countbench.VARIANTS
        "repaired": pa.bool_(),
        "included": pa.bool_(),  # there is a picture, for one variant or another
    }
)
"""Of the benchmark, with one row for each of its list."""


def repair(
    list_path: str,
    audit_csv: str,
    audited_images: str,
    repairs_csv: str,
    benchmark: str,
    images: str,
    summary: str,
    *,
    state: str,
    environment: dict[str, str],
    request: dict[str, Any],
    pause: float,
    picture: dict[str, Any],
) -> None:
    """Apply repairs.csv to the audit and publish the benchmark, its pictures and their count.

    state: folder that keeps each picture that an address of repairs.csv showed: it is asked for
        once, not again with the next line that somebody adds; delete it to ask anew.
    pause: seconds before each request. Most replacements lie in one web archive.
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
        about = {key: seen[key] for key in PICTURE} if row.index in bodies else {}
        records.append(
            {
                **row._asdict(),
                "status": seen["status"],
                "provenance": "original link",
                "license": "",
                "original": seen["status"] in USABLE,
                **about,
            }
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
                if entry["file"]:
                    body = _read(entry, Path(repairs_csv).parent, request["max_bytes"])
                else:
                    body = _ask(entry, Path(state), session, request, pause)
                about = _verify(entry, body, picture, placeholders)
                if entry["url"]:
                    with publish(_kept(entry, Path(state))) as temporary:
                        temporary.write_bytes(body)
                bodies[record["index"]] = body
                record.update(about._asdict(), status="repaired", original=False)
                record.update(provenance=entry["provenance"], license=entry["license"])
        except DownloadError as error:
            problems.append(
                f"line {line} (index {entry['index']}): {error}; run again later (what the others"
                " showed is kept), name another url or a file, or exclude the row"
            )
        except (Unusable, ValueError, OSError) as error:
            problems.append(f"line {line} (index {entry['index']}): {error}")
    if problems:
        raise ValueError(f"{repairs_csv}: {len(problems)} wrong\n  " + "\n  ".join(problems))
    _publish(records, bodies, benchmark, images, summary)


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


def _kept(entry: dict[str, Any], state: Path) -> Path:
    return state / sha256(entry["url"].encode())


def _ask(
    entry: dict[str, Any],
    state: Path,
    session: requests.Session,
    request: dict[str, Any],
    pause: float,
) -> bytes:
    """What the address of a line shows, or showed when it was asked before."""
    with suppress(FileNotFoundError):
        body = _kept(entry, state).read_bytes()
        if entry["sha256"] in ("", sha256(body)) and len(body) <= request["max_bytes"]:
            return body
    time.sleep(pause)
    return network.get(entry["url"], session=session, **request).body


def _read(entry: dict[str, Any], folder: Path, max_bytes: int) -> bytes:
    path = (folder / entry["file"]).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"file {entry['file']!r} lies outside {folder}: put it there")
    if not path.is_file():
        raise ValueError(f"no file {path}: put it there or correct the column file")
    if path.stat().st_size > max_bytes:
        raise ValueError(f"{path} has more than {max_bytes} bytes: make it smaller")
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
    if any(apart(about.phash, p) <= picture["placeholder_distance"] for p in placeholders):
        status, detail = "placeholder", "the same picture as a placeholder of the audit"
    if status != "alive":
        raise Unusable(status, f"{detail}; give another picture, or exclude the row")
    if not entry["sha256"]:
        log.warning(
            "index %d: sha256 is %s; write it into that column, so that another picture in the same"
            " place is noticed",
            entry["index"], about.sha256,
        )  # fmt: skip
    return about


def _publish(
    records: list[dict[str, Any]],
    bodies: dict[int, bytes],
    benchmark: str,
    images: str,
    summary: str,
) -> None:
    for record in records:
        record["repaired"] = record["status"] in (*USABLE, "repaired", "accepted")
        record["included"] = record["original"] or record["repaired"]
    included = [record for record in records if record["included"]]
    if not included:
        raise ValueError("no picture of the benchmark is left to measure on: see audit.csv")
    # The CSV between the two rules has no types of its own.
    whole = [{**r, **{k: int(r[k]) for k in ("width", "height") if k in r}} for r in records]
    write_table(pa.Table.from_pylist(whole, schema=SCHEMA), benchmark)
    write_images([r["index"] for r in included], [bodies[r["index"]] for r in included], images)
    counts = {
        "rows": len(records),
        "by_status": dict(Counter(record["status"] for record in records)),
    }
    for variant in ("original", "repaired"):
        numbers = [record["number"] for record in records if record[variant]]
        missing = [record["index"] for record in records if not record[variant]]
        about = {"n": len(numbers), "n_per_class": per_class(numbers), "missing": missing}
        counts[variant] = about
        log.info("%s: n = %d of %d rows", variant, len(numbers), len(records))
    write_json(counts, summary)
