"""What could mend the rows that do not show their picture?

Lines for repairs.csv, for a person to look at and take over: a picture out of a copy of the
benchmark that has the bytes with it, or else the Internet Archive's capture. Nobody is asked
anything here; a line is verified when it is applied (repairs.py).
"""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from countclip.benchmarks import repairs_csv
from countclip.benchmarks.countbench import USABLE, Row, load
from countclip.benchmarks.image_checks import examine
from countclip.data.images import FORMATS, Unusable
from countclip.data.near_duplicates import apart
from countclip.runtime.files import publish

log = logging.getLogger(__name__)

ARCHIVE = "https://web.archive.org/web/2021id_/{url}"
"""The capture nearest to 2021, when LAION-400M was made, as it came (id_) and not within a page."""
COPY = ("image_url", "text", "number", "image")


def offer(
    list_path: str, audit_csv: str, lines: str, *, picture: dict[str, Any], copy: str | None = None
) -> None:
    """Publish `lines` in the format of repairs.csv, one for each row that is not usable, and beside
    it images/, the files that they name.

    A host that wants to be left alone by programs (not_allowed) is left alone here too.
    copy: Parquet with image_url, text, number and image (bytes, or a struct with them), as
        `nielsr/countbench` has them; rows belong together by URL, or else by caption and number.
    picture: max_pixels, min_side and placeholder_distance, as audit.audit has them.
    """
    rows = load(list_path)
    audited = pd.read_csv(audit_csv, keep_default_na=False, dtype=str).to_dict("records")
    statuses = {int(seen["index"]): seen["status"] for seen in audited}
    wanted = [row for row in rows if statuses[row.index] not in (*USABLE, "not_allowed")]
    placeholders = [seen["phash"] for seen in audited if seen["status"] == "placeholder"]
    offered = {
        row.index: {
            "url": ARCHIVE.format(url=row.url),
            "provenance": "Internet Archive, the capture nearest to 2021",
        }
        for row in wanted
    }
    with publish(Path(lines).parent / "images") as folder:
        folder.mkdir()
        for index, body in _pictures(copy, wanted) if copy else ():
            try:
                about, status, _ = examine(body, picture["max_pixels"], picture["min_side"])
            except Unusable:
                continue
            near = (apart(about.phash, p) <= picture["placeholder_distance"] for p in placeholders)
            if status != "alive" or any(near):
                continue
            kind = Image.open(io.BytesIO(body), formats=FORMATS).format.lower()
            (folder / f"{index:03}.{kind}").write_bytes(body)
            offered[index] = {
                "file": f"images/{index:03}.{kind}",
                "sha256": about.sha256,
                "provenance": f"{Path(copy).name}, a copy of the benchmark",
            }
    records = [
        {"index": index, "action": "replace", **source, "reason": statuses[index]}
        for index, source in offered.items()
    ]
    with publish(lines) as temporary:
        pd.DataFrame(records, columns=list(repairs_csv.COLUMNS)).to_csv(
            temporary, index=False, lineterminator="\n"
        )
    files = sum("file" in record for record in records)
    log.info(
        "%d rows to mend: %d pictures, %d addresses", len(records), files, len(records) - files
    )


def _pictures(copy: str, wanted: list[Row]) -> Iterator[tuple[int, bytes]]:
    """Index and bytes of the pictures that a copy has for the rows wanted; few in memory."""
    table = pq.ParquetFile(copy)
    if missing := sorted(set(COPY).difference(table.schema_arrow.names)):
        raise ValueError(f"{copy}: has no column {', '.join(missing)}; needed: {', '.join(COPY)}")
    by_url, by_caption = {}, {}
    for row in wanted:  # CountBench has two addresses twice
        by_url.setdefault(row.url, []).append(row.index)
        by_caption.setdefault((row.caption, row.number), []).append(row.index)
    for batch in table.iter_batches(batch_size=16, columns=list(COPY)):
        for entry in batch.to_pylist():
            body = entry["image"]
            body = body.get("bytes") if isinstance(body, dict) else body
            indices = by_url.get(entry["image_url"])
            if indices is None:  # a caption that several rows have says nothing
                indices = by_caption.get((entry["text"], entry["number"]), [])
                indices = indices if len(indices) == 1 else []
            for index in indices if body else ():
                yield index, body
