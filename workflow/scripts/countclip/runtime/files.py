"""Files published whole or not at all: written beside their place, then renamed.

And texts that people wrote, whatever editor or spreadsheet saved them.
"""

import codecs
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


LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes of a file's or folder's name, and of a whole path, which Linux allows at most."""


def check_name(name: str) -> None:
    """Raise ValueError for a text that can name no file, such as the content of one."""
    longest = max((len(os.fsencode(part)) for part in Path(name).parts), default=0)
    whole = len(os.fsencode(name))
    why = "a NUL is in it" if "\0" in name else ""
    if longest > LONGEST_NAME:
        why = why or f"{longest:,} bytes, of at most {LONGEST_NAME}"
    elif whole > LONGEST_PATH:
        why = why or f"{whole:,} bytes with its folders, of at most {LONGEST_PATH:,}"
    if why:
        raise ValueError(
            f"{name[:40]!r}{'...' if name[40:] else ''} names no file ({why}): write a file's path"
        )


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


def parquet_batches(path: str | Path, rows: int, columns: list[str] | None = None) -> Iterator[Any]:
    """Yield the record batches of a Parquet file, `rows` each, a row group at a time.

    By default pyarrow reads the column chunks of all row groups ahead: of images the whole file.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)


def write_json(value: Any, path: str | Path) -> None:
    """Write `value` as JSON with sorted keys, so that equal values give equal bytes."""
    write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", path)


def write_text(text: str, path: str | Path) -> None:
    with publish(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # it begins as UTF-16's does
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_text(path: str | Path) -> str:
    """Text that a person wrote: UTF-8, with or without its mark, and any end of line.

    ValueError names what else it is, and the line.
    """
    body = Path(path).read_bytes()
    form = "CSV UTF-8" if Path(path).suffix.lower() == ".csv" else "UTF-8"
    found = (encoding for mark, encoding in _OTHER_MARKS.items() if body.startswith(mark))
    if encoding := next(found, "UTF-16" if b"\0" in body[:2] else None):
        raise ValueError(f"{path}: is {encoding}; save it as {form}")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}: is not UTF-8; save it as {form} (line {line}: byte 0x{body[error.start]:02x})"
        ) from error
    text = text.lstrip("\ufeff")  # a program that adds a mark to a marked text
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | Path) -> Any:
    """The value of a JSON file that a person wrote; ValueError names a file that is none."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON: {error}; correct it or get it anew") from error


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
