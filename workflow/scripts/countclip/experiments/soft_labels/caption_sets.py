"""Captions of a set on disk, in batches of bounded memory.

A set is a file or a folder of one of these forms:
- Parquet: the workflow's candidates, LAION's metadata, or the tables beside img2dataset's shards;
- CSV or TSV, with a header or without, as CC3M, CC12M and YFCC15M are published;
- webdataset: tar shards with a .txt or a .json for each image.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from countclip.runtime.folders import contents

COLUMNS = ("caption", "text", "alt_text", "title")
"""Names of a column of captions, in any case, the most telling first."""
PARQUET, TABLES, TAR = (".parquet",), (".csv", ".tsv", ".csv.gz", ".tsv.gz"), (".tar",)
BATCH = 65_536
"""Captions of a batch; fixed, since finished batches are known by their number."""
BLOCK = 8 << 20
"""Bytes of a CSV file that make a batch."""
LONGEST = 10_000
"""Characters of a caption that are read; CLIP reads some 300."""
LARGEST_MEMBER = 1 << 20
"""Bytes of a .txt or .json in a tar; a larger one is dropped."""


class CaptionSet(NamedTuple):
    """Captions of a set.

    paths: files and folders. column: the name of the column of captions, or its place from 0 on in
        a CSV file without a header; None looks for one of COLUMNS. rows: of the workflow's
        candidates, those with a number (`counting`), those without, or all.
    """

    paths: tuple[str, ...]
    column: str | int | None = None
    rows: Literal["all", "counting", "non_counting"] = "all"


class Captions(NamedTuple):
    """A batch of captions, and how many rows were dropped by reason."""

    texts: list[str]
    dropped: Counter[str]


def files_of(captions: CaptionSet) -> list[Path]:
    """The files to read, sorted within each folder.

    A folder's tables win over its tar shards: img2dataset writes both, and only the tables say
    which images arrived. ValueError for a path with no file of a known form.
    """
    files = []
    for path in map(Path, captions.paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: is not there; correct the path of this caption set")
        inside = contents(path).files if path.is_dir() else [path]
        for endings in (PARQUET, TABLES, TAR):
            found = [one for one in inside if one.name.lower().endswith(endings) and one.is_file()]
            if found:
                break
        else:
            known = ", ".join((*PARQUET, *TABLES, *TAR))
            raise ValueError(f"{path}: holds no captions that are known: {known}. Correct the path")
        files += found
    return files


def read_captions(path: Path, captions: CaptionSet) -> Iterator[Captions]:
    """The captions of one file, in batches: the same ones each time.

    Blank captions are dropped, and images that img2dataset did not get. ValueError for a file
    without a column of captions, or that is damaged.
    """
    name = path.name.lower()
    try:
        if name.endswith(PARQUET):
            yield from _parquet(path, captions)
        elif name.endswith(TABLES):
            yield from _table(path, captions)
        else:
            yield from _tar(path)
    except (pa.ArrowException, tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(f"{path}: cannot be read: {error}. Get the file anew") from error


def _parquet(path: Path, captions: CaptionSet) -> Iterator[Captions]:
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        names = file.schema_arrow.names
        column = _column(path, names, captions.column)
        status = [name for name in ("status",) if name in names]
        number = [] if captions.rows == "all" else ["number"]
        if number and number[0] not in names:
            raise ValueError(
                f"{path}: no column number, so that rows: {captions.rows} cannot be told; set rows"
                " to all"
            )
        for batch in file.iter_batches(
            BATCH, columns=[column, *status, *number], use_threads=False
        ):
            wanted, dropped = batch, Counter()
            if status:
                wanted = wanted.filter(pc.equal(wanted["status"], "success"))
                dropped["image_not_fetched"] = len(batch) - len(wanted)
            if number:
                empty = pc.is_null(wanted["number"])
                wanted = wanted.filter(
                    empty if captions.rows == "non_counting" else pc.invert(empty)
                )
            yield _batch(wanted[column], dropped)


def _table(path: Path, captions: CaptionSet) -> Iterator[Captions]:
    tabs = ".tsv" in path.name.lower()
    dropped: Counter[str] = Counter()

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        dropped["malformed_line"] += 1
        return "skip"

    headless = isinstance(captions.column, int)
    parse = pyarrow.csv.ParseOptions(
        delimiter="\t" if tabs else ",",
        quote_char=False if tabs else '"',
        newlines_in_values=not tabs,
        invalid_row_handler=skip,
    )
    read = pyarrow.csv.ReadOptions(
        block_size=BLOCK, autogenerate_column_names=headless, use_threads=False
    )
    with _open_table(path) as head:
        names = pyarrow.csv.open_csv(head, read, parse).schema.names
    if headless and not 0 <= captions.column < len(names):
        raise ValueError(
            f"{path}: no column {captions.column}; it has {len(names)}, counted from 0"
        )
    column = names[captions.column] if headless else _column(path, names, captions.column)
    dropped.clear()
    convert = pyarrow.csv.ConvertOptions(
        check_utf8=False, include_columns=[column], column_types={column: pa.string()},
        strings_can_be_null=False,
    )  # fmt: skip
    with _open_table(path) as source:
        for batch in pyarrow.csv.open_csv(source, read, parse, convert):
            yield _batch(batch[column], Counter(dropped))
            dropped.clear()


def _open_table(path: Path) -> pa.NativeFile:
    return pa.input_stream(path, compression="detect")


def _tar(path: Path) -> Iterator[Captions]:
    """Captions of a shard: of each key the .txt, or else the `caption` of its .json."""
    texts: dict[str, str] = {}
    failed: dict[str, str] = {}  # key -> why it has no caption so far
    with tarfile.open(path, "r|*") as tar:
        for member in tar:
            if not member.isfile():
                continue
            folder, slash, name = member.name.rpartition("/")
            name, _, kind = name.partition(".")
            key = folder + slash + name
            failed.setdefault(key, "no_caption")
            if kind not in ("txt", "json") or (kind == "json" and key in texts):
                continue
            if member.size > LARGEST_MEMBER:
                failed[key] = "too_large"
                continue
            body = tar.extractfile(member).read().decode(errors="replace")
            if kind == "json":
                try:
                    body = json.loads(body).get("caption")
                except (ValueError, AttributeError, RecursionError):
                    failed[key] = "damaged_json"
                    continue
            if isinstance(body, str):
                texts[key] = body
    dropped = Counter(reason for key, reason in failed.items() if key not in texts)
    found = list(texts.values())
    for start in range(0, max(len(found), 1), BATCH):
        yield _batch(pa.array(found[start : start + BATCH], pa.string()), dropped)
        dropped = Counter()


def _column(path: Path, names: list[str], wanted: str | int | None) -> str:
    if isinstance(wanted, str):
        if wanted in names:
            return wanted
        raise ValueError(f"{path}: no column {wanted!r}; it has {', '.join(map(repr, names))}")
    lower = {name.lower(): name for name in names}
    for name in COLUMNS:
        if name in lower:
            return lower[name]
    raise ValueError(
        f"{path}: no column of captions. It has {', '.join(names)}; known names are"
        f" {', '.join(COLUMNS)}, in any case. Name yours with `column`, or count it from 0 if"
        " the file has no header"
    )


def _batch(column: pa.Array, dropped: Counter[str]) -> Captions:
    """Captions as texts, cut to LONGEST; bytes that are not UTF-8 are replaced."""
    raw = column.cast(pa.binary()).to_pylist()
    texts = [one.decode(errors="replace")[:LONGEST] for one in raw if one]
    texts = [one for one in texts if one and not one.isspace()]
    dropped["blank"] += len(raw) - len(texts)
    return Captions(texts, +dropped)
