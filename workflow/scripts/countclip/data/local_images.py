"""Images of a user, checked and listed where they lie: nothing is copied.

Their manifest is that of a fetch (fetch.py). The index beside it names files in place of shards.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from countclip.data.images import MAX_BYTES, TooManyPixels, Unusable, decode, read_file
from countclip.data.shards import MANIFEST, shards_of
from countclip.runtime.files import progress, publish, sha256, write_table

log = logging.getLogger(__name__)

INDEX = pa.schema({"key": pa.string(), "file": pa.string(), "sha256": pa.string()})
SHOWN = 5
"""Files of a status that the log names."""


def check(path: Path | None, *, max_bytes: int, max_pixels: int) -> dict[str, Any]:
    """Status of a user's image, and of one that is `ok` its sha256, width, height and file.

    Other statuses: missing (also None), too_large, too_many_pixels, and those of `images.Unusable`.
    Limits are those of the config's `fetch.images`.
    """
    if path is None:
        return {"status": "missing"}
    try:
        body = read_file(path, min(max_bytes, MAX_BYTES))
        image = decode(body, max_pixels)
    except TooManyPixels:
        return {"status": "too_many_pixels"}
    except Unusable as error:
        status = "missing" if not path.exists() else error.status
        return {"status": status, "detail": error.detail}
    width, height = image.size
    return {"status": "ok", "sha256": sha256(body), "width": width, "height": height,
            "file": _portable(path)}  # fmt: skip


def _portable(path: Path) -> str:
    """A path as a run's results name it: relative within the run's folder, so that it may move."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path.absolute())


def check_all(
    paths: Iterable[Path | None], *, threads: int, max_bytes: int, max_pixels: int
) -> dict[Path | None, dict[str, Any]]:
    """What `check` says of each path; a file that is named twice is read once."""
    distinct = list(dict.fromkeys(paths))
    examine = partial(check, max_bytes=max_bytes, max_pixels=max_pixels)
    with ThreadPoolExecutor(threads) as pool:
        found = progress(
            _in_order(pool, examine, distinct), total=len(distinct), unit="image", desc="check"
        )
        checked = dict(zip(distinct, found, strict=True))
    shown: Counter[str] = Counter()
    for path, facts in checked.items():
        shown[facts["status"]] += 1
        if facts["status"] != "ok" and shown[facts["status"]] <= SHOWN:
            log.info("%s: %s (%s)", path, facts["status"], facts.get("detail", ""))
    log.info("%d images: %s", len(checked), dict(shown))
    return checked


def _in_order(pool: ThreadPoolExecutor, work: Any, items: list[Any]) -> Iterator[Any]:
    """Results of `work` in the order of `items`, a bounded number of them ahead."""
    for start in range(0, len(items), 256):
        yield from pool.map(work, items[start : start + 256])


def write_manifest(rows: list[dict[str, Any]], manifest: str | Path) -> None:
    """Publish the index of some rows, and then their manifest (columns of MANIFEST).

    rows: sample_id, url and the facts of `check`, in the order of their candidates.
    """
    keyed = [{"key": f"{i:09d}", **row} for i, row in enumerate(rows)]
    stored = [row for row in keyed if row["status"] == "ok"]
    with publish(shards_of(manifest)) as temporary:
        temporary.mkdir(parents=True)
        write_table(pa.Table.from_pylist(stored, schema=INDEX), temporary / "index.parquet")
    write_table(pa.Table.from_pylist(keyed, schema=MANIFEST), manifest)
