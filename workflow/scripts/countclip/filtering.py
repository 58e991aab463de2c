"""Which rows of a LAION part are candidates? Those that name a number, and a sample of the rest.

A part has some 13 million rows; it streams through in batches of bounded memory and only the
columns that are needed are read.
"""

import logging
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from countclip import captions
from countclip.files import progress, publish, write_json

log = logging.getLogger(__name__)

# Copies of LAION and DataComp name their columns differently. Compared in lower case.
ALIASES = {
    "url": ("url", "image_url"),
    "caption": ("text", "caption", "alt_text"),
    "sample_id": ("sample_id", "uid"),
}
CANDIDATES = pa.schema(
    {
        "sample_id": pa.string(),
        "url": pa.string(),
        "caption": pa.string(),
        "number": pa.int8(),  # null: a non-counting row
        "number_start": pa.int32(),  # span of the number word in characters
        "number_end": pa.int32(),
        "number_words": pa.int8(),
    }
)
BATCH = 65_536  # fixed, since the sample of non-counting rows is drawn batch by batch


def columns(names: list[str], path: str | Path) -> dict[str, str]:
    """Which column of `names` is the url, the caption and (where there is one) the sample id."""
    found = {}
    for role, aliases in ALIASES.items():
        matches = [name for name in names if name.lower() in aliases]
        if len(matches) > 1:
            raise ValueError(f"{path}: {matches} could all be the {role}; keep one of them")
        if not matches and role != "sample_id":
            raise ValueError(
                f"{path}: no column for the {role}. It has {', '.join(names)}; known names are "
                f"{', '.join(aliases)}, in any case. Add yours to ALIASES in filtering.py"
            )
        if matches:
            found[role] = matches[0]
    return found


def read_rows(path: str | Path) -> Iterator[pa.RecordBatch]:
    """The rows of a part as batches of strings: sample_id, url, caption."""
    with pq.ParquetFile(path) as file:
        names = columns(file.schema_arrow.names, path)
        first = 0
        for batch in file.iter_batches(BATCH, columns=list(names.values())):
            rows = {role: batch.column(name) for role, name in names.items()}
            numbers = np.arange(first, first + batch.num_rows)
            rows["sample_id"] = _identifiers(rows.get("sample_id", pa.array(numbers)))
            first += batch.num_rows
            yield pa.record_batch(
                {role: _text(rows[role]) for role in ("sample_id", "url", "caption")}
            )


def _identifiers(column: pa.Array) -> pa.Array:
    """LAION keeps its integer ids in a float column in some copies."""
    return column.cast(pa.int64()) if pa.types.is_floating(column.type) else column


def _text(column: pa.Array) -> pa.Array:
    """The column as valid UTF-8; Parquet does not check it, so bytes that are not are replaced."""
    text = column.cast(pa.string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        raw = text.cast(pa.binary()).to_pylist()
        text = pa.array([b if b is None else b.decode(errors="replace") for b in raw], pa.string())
    return text


def filter_part(
    part: str | Path,
    candidates: str | Path,
    counts: str | Path,
    *,
    several: Literal["largest", "only_one"],
    non_counting_ratio: float,
    seed: int,
) -> None:
    """Write the candidates of a part, and how many rows went where (JSON).

    Non-counting rows have no number word at all. As many as `non_counting_ratio` times the
    counting rows of a batch are drawn at random, seeded by `seed`, the part's name and the batch.
    """
    reasons: Counter[str] = Counter()
    numbers: Counter[int] = Counter()
    total = pq.read_metadata(part).num_rows
    name = zlib.crc32(Path(part).stem.encode())
    with (
        publish(candidates) as temporary,
        pq.ParquetWriter(temporary, CANDIDATES, compression="zstd") as writer,
        progress(total=total, desc=f"filter {Path(part).stem}") as bar,
    ):
        for i, batch in enumerate(read_rows(part)):
            generator = np.random.default_rng([seed, name, i])
            table = _select(batch, several, non_counting_ratio, generator, reasons)
            numbers.update(n for n in table["number"].to_pylist() if n is not None)
            writer.write_table(table)
            bar.update(batch.num_rows)
    if total != sum(reasons.values()):
        raise RuntimeError(f"{part}: {total} rows, but {sum(reasons.values())} accounted for")
    per_number = {str(number): numbers[number] for number in captions.NUMBERS}
    write_json({"rows": total, "reasons": dict(reasons), "counting_by_number": per_number}, counts)
    log.info("%s: %d rows: %s", part, total, dict(sorted(reasons.items())))


def _select(
    batch: pa.RecordBatch,
    several: Literal["largest", "only_one"],
    ratio: float,
    generator: np.random.Generator,
    reasons: Counter[str],
) -> pa.Table:
    """The candidates of one batch in the order of its rows; `reasons` counts every row once."""
    no_url = _blank(batch["url"])
    no_caption = _blank(batch["caption"]) & ~no_url
    usable = ~no_url & ~no_caption
    rows, found = captions.find_all(batch["caption"])
    chosen = {
        row: (word, len(words))
        for row, words in zip(rows.tolist(), found, strict=True)
        if usable[row] and (word := captions.label(words, several))
    }
    named = np.zeros(batch.num_rows, bool)
    named[rows] = True
    rest = np.flatnonzero(usable & ~named)
    sampled = generator.choice(rest, min(round(ratio * len(chosen)), len(rest)), replace=False)
    reasons.update(
        counting=len(chosen),
        non_counting=len(sampled),
        no_url=int(no_url.sum()),
        no_caption=int(no_caption.sum()),
        several_numbers=int((usable & named).sum()) - len(chosen),
        non_counting_not_sampled=len(rest) - len(sampled),
    )
    kept = np.sort(np.concatenate([np.fromiter(chosen, int, len(chosen)), sampled]))
    words = [chosen.get(row, (None, 0)) for row in kept.tolist()]
    table = pa.Table.from_batches([batch.take(pa.array(kept))]).to_pydict()
    return pa.table(
        {
            **table,
            "number": [word and word.number for word, _ in words],
            "number_start": [word and word.start for word, _ in words],
            "number_end": [word and word.end for word, _ in words],
            "number_words": [min(n, 127) for _, n in words],
        },
        schema=CANDIDATES,
    )


def _blank(column: pa.Array) -> np.ndarray:
    empty = pc.equal(pc.utf8_trim_whitespace(column), "")
    return empty.fill_null(True).to_numpy(zero_copy_only=False)
