"""Files published whole or not at all: written beside their place, then renamed."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm


@contextmanager
def publish(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` if the block succeeds.

    The path may become a file or a folder. The temporary path has the same suffix, since some
    libraries depend on it. Remains of a killed job are removed, so a path has one writer at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    _remove(temporary)
    try:
        yield temporary
        if path.is_dir():
            _remove(path)
        os.replace(temporary, path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_table(table: Any, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Write a pyarrow, pandas or polars table as Parquet; `metadata` goes into the schema."""
    import pyarrow as pa  # here, since most users of this module need no pyarrow
    import pyarrow.parquet as pq

    if hasattr(table, "to_arrow"):  # polars
        table = table.to_arrow()
    elif not isinstance(table, pa.Table):
        table = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    if metadata:
        table = table.replace_schema_metadata(metadata)
    with publish(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_json(value: Any, path: str | Path) -> None:
    """Write `value` as JSON with sorted keys, so that equal values give equal bytes."""
    write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", path)


def write_text(text: str, path: str | Path) -> None:
    with publish(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(source: str | Path | bytes) -> str:
    """Hex digest of a file's content, or of bytes."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def progress(
    iterable: Iterable | None = None,
    total: int | None = None,
    unit: str = "row",
    desc: str = "",
    initial: int = 0,
) -> tqdm:
    """A tqdm bar with rate and ETA that writes a log line every few seconds."""
    return tqdm(
        iterable,
        total=total,
        unit=f" {unit}",
        desc=desc,
        initial=initial,
        mininterval=5.0,
        maxinterval=5.0,
        ascii=True,
        ncols=100,
    )


def with_digest(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with the sha256 of its canonical JSON under `digest`."""
    return {**recipe, "digest": sha256(json.dumps(recipe, sort_keys=True).encode())}


def digest(*parts: str) -> str:
    """A short digest of settings, as the name of a folder for resumable state."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
