"""Repairs of the benchmark: the lines of repairs.csv, verified and applied to the audit.

replace: another address or file for an image that is gone. exclude: leave the row out. accept: the
image is right, although the audit doubted it.
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
from countclip.benchmarks.image_checks import ImageFacts, examine
from countclip.benchmarks.repairs_csv import read_repairs
from countclip.benchmarks.store import write_images
from countclip.data.images import Unusable
from countclip.data.near_duplicates import hamming_distance
from countclip.data.number_words import per_class
from countclip.runtime import network
from countclip.runtime.csv_files import raise_problems
from countclip.runtime.files import progress, publish, sha256, write_json, write_table
from countclip.runtime.folders import stored
from countclip.runtime.machine import OF_ALL_FILES, raise_machine_error
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
        "included": pa.bool_(),  # in one of the variants, so there is an image
    }
)
"""Columns of the benchmark, with one row for each of its list."""


def repair(
    *,
    list_json: str,
    audit_csv: str,
    audited_images: str,
    repairs_csv: str,
    benchmark_parquet: str,
    images_parquet: str,
    summary_json: str,
    state: str,
    environment: dict[str, str],
    request: dict[str, Any],
    pause: float,
    image_limits: dict[str, Any],
) -> None:
    """Apply repairs.csv to the audit; publish the benchmark, its images and a summary.

    state: folder for the images of repairs.csv's addresses. Each is downloaded once, not again for
        the next line that somebody adds; delete the folder to download them anew.
    pause: seconds before each request, since most replacements lie in one web archive.
    image_limits: max_pixels, min_side and placeholder_distance, as in audit.audit.
    Raises ValueError that lists every wrong line of repairs.csv, and what to do.
    """
    rows = load(list_json)
    audited = pd.read_csv(audit_csv, keep_default_na=False, dtype={"sha256": str, "phash": str})
    if audited["url"].tolist() != [row.url for row in rows]:
        raise ValueError(f"{audit_csv} is not an audit of {list_json}: delete it and run again")
    table = pq.read_table(audited_images)
    bodies = dict(zip(table["index"].to_pylist(), table["image"].to_pylist(), strict=True))
    records = []
    for row, audit in zip(rows, audited.to_dict("records"), strict=True):
        facts = {key: audit[key] for key in ImageFacts._fields} if row.index in bodies else {}
        records.append(
            {
                **row._asdict(),
                "status": audit["status"],
                "provenance": "original link",
                "license": "",
                "original": audit["status"] in USABLE,
                **facts,
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
                    body = _read_file(entry, Path(repairs_csv).parent, request["max_bytes"])
                else:
                    body = _download(entry, Path(state), session, request, pause)
                facts = _verify(entry, body, image_limits, placeholders)
                if entry["url"]:
                    with publish(_downloaded_file(entry, Path(state))) as temporary:
                        temporary.write_bytes(body)
                bodies[record["index"]] = body
                record.update(facts._asdict(), status="repaired", original=False)
                record.update(provenance=entry["provenance"], license=entry["license"])
        except DownloadError as error:
            problems.append(
                f"line {line} (index {entry['index']}): {error}; run again later (the other"
                " downloads are reused), name another url or a file, or exclude the row"
            )
        except (Unusable, ValueError, OSError) as error:
            raise_machine_error(error, OF_ALL_FILES)
            problems.append(f"line {line} (index {entry['index']}): {error}")
    raise_problems(repairs_csv, problems)
    _publish(
        records,
        bodies,
        benchmark_parquet=benchmark_parquet,
        images_parquet=images_parquet,
        summary_json=summary_json,
    )


def _accept(entry: dict[str, Any], record: dict[str, Any]) -> None:
    if "sha256" not in record:
        raise ValueError(
            f"the audit found no image to accept ({record['status']}): replace or exclude it"
        )
    if entry["sha256"] and entry["sha256"] != record["sha256"]:
        raise ValueError(
            f"the link now shows another image (sha256 {record['sha256']}): look at it again,"
            " then correct sha256 or replace it"
        )
    record.update(status="accepted", provenance=entry["provenance"] or record["provenance"])


def _downloaded_file(entry: dict[str, Any], state: Path) -> Path:
    return state / sha256(entry["url"].encode())


def _download(
    entry: dict[str, Any],
    state: Path,
    session: requests.Session,
    request: dict[str, Any],
    pause: float,
) -> bytes:
    """The image at the address of a line, from an earlier download if possible."""
    with suppress(FileNotFoundError):
        body = _downloaded_file(entry, state).read_bytes()
        if entry["sha256"] in ("", sha256(body)) and len(body) <= request["max_bytes"]:
            return body
    time.sleep(pause)
    return network.get(entry["url"], session=session, **request).body


def _read_file(entry: dict[str, Any], folder: Path, max_bytes: int) -> bytes:
    link = stored(folder / entry["file"])
    path = link.resolve()
    if not path.is_relative_to(folder.resolve()):
        target = f" (a link to {path})" if link.is_symlink() else ""
        raise ValueError(f"file {entry['file']!r} lies outside {folder}{target}: copy it there")
    if not path.is_file():
        raise ValueError(f"no file {path}: put it there or correct the column file")
    if path.stat().st_size > max_bytes:
        raise ValueError(
            f"{path} has more than {max_bytes} bytes: make it smaller, or raise"
            " countbench.request.max_bytes"
        )
    return path.read_bytes()


def _verify(
    entry: dict[str, Any], body: bytes, image_limits: dict[str, Any], placeholders: list[str]
) -> ImageFacts:
    """Facts on a replacement; an error unless it is usable and has the expected sha256."""
    facts, status, detail = examine(body, image_limits["max_pixels"], image_limits["min_side"])
    if entry["sha256"] and entry["sha256"] != facts.sha256:
        raise ValueError(
            f"sha256 is {facts.sha256}: look at the image, then correct the column sha256 or"
            " the url or file"
        )
    distance = image_limits["placeholder_distance"]
    if any(hamming_distance(facts.phash, phash) <= distance for phash in placeholders):
        status, detail = "placeholder", "the same image as a placeholder of the audit"
    if status != "alive":
        raise Unusable(status, f"{detail}; give another image, or exclude the row")
    if not entry["sha256"]:
        log.warning(
            "index %d: sha256 is %s; write it into that column, so that another image in the same"
            " place is noticed",
            entry["index"], facts.sha256,
        )  # fmt: skip
    return facts


def _publish(
    records: list[dict[str, Any]],
    bodies: dict[int, bytes],
    *,
    benchmark_parquet: str,
    images_parquet: str,
    summary_json: str,
) -> None:
    for record in records:
        record["repaired"] = record["status"] in (*USABLE, "repaired", "accepted")
        record["included"] = record["original"] or record["repaired"]
    included = [record for record in records if record["included"]]
    if not included:
        counts = Counter(record["status"] for record in records).most_common()
        raise ValueError(
            f"no image of the benchmark's {len(records)} rows is left to measure on"
            f" ({', '.join(f'{n} {status}' for status, n in counts)}): see"
            " results/countbench/audit.csv, and name images in countbench.repairs"
        )
    # audit.csv has no types: a column with gaps is read as float.
    typed = [{**r, **{k: int(r[k]) for k in ("width", "height") if k in r}} for r in records]
    write_table(pa.Table.from_pylist(typed, schema=SCHEMA), benchmark_parquet)
    indices = [record["index"] for record in included]
    write_images(indices, [bodies[index] for index in indices], images_parquet)
    counts = {
        "rows": len(records),
        "by_status": dict(Counter(record["status"] for record in records)),
    }
    for variant in ("original", "repaired"):
        numbers = [record["number"] for record in records if record[variant]]
        missing = [record["index"] for record in records if not record[variant]]
        counts[variant] = {
            "n": len(numbers),
            "n_per_class": per_class(numbers),
            "missing": missing,
        }
        log.info("%s: n = %d of %d rows", variant, len(numbers), len(records))
    write_json(counts, summary_json)
