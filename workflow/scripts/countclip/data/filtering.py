"""Candidates of a LAION part: rows that name a number, and a sample of others.

A part has some 13 million rows. Its row groups are read in parallel, in batches of bounded memory,
and only in the columns that are needed. The result of each row group is stored until all are done,
so that a killed job continues with the next one.
"""

import json
import logging
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from countclip.data import number_words
from countclip.runtime.files import digest, progress, publish, write_json

log = logging.getLogger(__name__)

# Copies of LAION and DataComp name their columns differently. Names are compared in lower case.
ALIASES = {
    "url": ("url", "image_url"),
    "caption": ("text", "caption", "alt_text"),
    "sample_id": ("sample_id", "uid"),
    "nsfw": ("nsfw",),
    "similarity": ("similarity", "clip_b32_similarity_score"),
    "width": ("width", "original_width"),
    "height": ("height", "original_height"),
}
OPTIONAL = ("sample_id", "nsfw")
FILE = "file"
"""Name, in lower case, of a column of files below `laion.images`; url is then `file:` and that."""
WORD = pa.struct({"number": pa.int8(), "start": pa.int32(), "end": pa.int32()})
CANDIDATES = pa.schema(
    {
        "sample_id": pa.string(),
        "url": pa.string(),
        "caption": pa.string(),
        "number": pa.int8(),  # null: a non-counting row
        "number_start": pa.int32(),  # span of the number word in characters
        "number_end": pa.int32(),
        "words": pa.list_(WORD),  # all number words of the caption
    }
)
BATCH = 65_536  # rows; fixed, since non-counting rows are sampled batch by batch
BUFFER = 1 << 20  # bytes of a column read at a time; a row group can have any size


class Settings(NamedTuple):
    """Settings of the filter (config/README.md, `captions`)."""

    several: Literal["largest", "only_one"]
    non_counting_ratio: float
    seed: int
    nsfw_drop: list[str]  # verdicts, in any case; a row without verdict passes
    similarity_min: float | None
    min_side: int | None  # pixels of the shorter side
    files: bool = False  # whether rows may name files (laion.images)


def find_columns(names: list[str], path: str | Path, roles: list[str]) -> dict[str, str]:
    """Role -> its column among `names`; ValueError if a required one is missing."""
    found = {}
    for role in roles:
        matches = [name for name in names if name.lower() in ALIASES[role]]
        if len(matches) > 1:
            raise ValueError(f"{path}: {matches} could all be the {role}; keep one of them")
        if matches:
            found[role] = matches[0]
        elif role not in OPTIONAL:
            advice = (
                "set captions.similarity_min to null"
                if role == "similarity"
                else "set captions.min_side to null"
                if role in ("width", "height")
                else "add yours to ALIASES in filtering.py"
            )
            raise ValueError(
                f"{path}: no column for the {role}. It has {', '.join(names)}; known names are "
                f"{', '.join(ALIASES[role])}, in any case. Rename yours, or {advice}"
            )
    return found


def _columns(names: list[str], path: str | Path, roles: list[str], files: bool) -> dict[str, str]:
    """Role -> its column, as `find_columns` has it; with `files` a column of files may stand alone.

    The role `file` is that of a column which names files in `laion.images`.
    """
    file = [name for name in names if name.lower() == FILE]
    if not file:
        return find_columns(names, path, roles)
    if not files:
        try:
            return find_columns(names, path, roles)
        except ValueError as error:
            if not any(name.lower() in ALIASES["url"] for name in names):
                raise ValueError(
                    f"{error}; or set laion.images to the folder in which its column {file[0]}"
                    " names files"
                ) from error
            raise
    has_url = any(name.lower() in ALIASES["url"] for name in names)
    rest = [role for role in roles if role != "url" or has_url]
    return find_columns(names, path, rest) | {FILE: file[0]}


def filter_part(
    *,
    part: str | Path,
    candidates: str | Path,
    counts: str | Path,
    state: str | Path,
    threads: int = 1,
    **settings,
) -> None:
    """Write the candidates of a part, and a JSON that counts its rows by reason.

    Non-counting rows have no number word at all. `non_counting_ratio` of them per counting row of
    a batch are drawn at random, seeded by `seed`, the part's name and the batch.

    state: folder for finished row groups; a killed job continues from there.
    threads: row groups at a time; they do not change the result.
    settings: the fields of `Settings`.
    """
    part, chosen = Path(part), Settings(**settings)
    roles = ["url", "caption", "sample_id"]
    roles += ["nsfw"] if chosen.nsfw_drop else []
    roles += [] if chosen.similarity_min is None else ["similarity"]
    roles += [] if chosen.min_side is None else ["width", "height"]
    metadata = pq.read_metadata(part)
    columns = metadata.schema.to_arrow_schema().names
    names = _columns(columns, part, roles, chosen.files)
    if "nsfw" in roles and "nsfw" not in names:
        others = [name for name in columns if re.search("nsfw|unsafe|safety", name.lower())]
        log.warning(
            "%s: no row is dropped by captions.nsfw_drop, because no column is named nsfw. %s",
            part,
            f"{', '.join(others)} is read by no key: drop such rows before, or write the verdicts"
            " into a column nsfw"
            if others
            else "Set captions.nsfw_drop to [] if that is right, or add the column",
        )
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    file = part.stat()
    folder = Path(state) / digest(json.dumps(chosen), str(file.st_size), str(file.st_mtime_ns))
    done = [(folder / f"{group:05}.json").exists() for group in range(len(sizes))]
    finished = sum(size for size, is_done in zip(sizes, done, strict=True) if is_done)
    if finished:
        log.info("%s: %d of %d row groups are done already", part, sum(done), len(done))

    def work(group: int) -> Path:
        file = folder / f"{group:05}.arrow"
        if not done[group]:
            _filter_group(part, metadata, group, sum(sizes[:group]), names, chosen, file, advance)
        return file

    total: dict[str, Counter[str]] = {
        "reasons": Counter(),
        "counting_by_number": Counter({str(number): 0 for number in number_words.NUMBERS}),
    }
    with (
        progress(total=sum(sizes), initial=finished, desc=f"filter {part.stem}") as bar,
        publish(candidates) as temporary,
        pq.ParquetWriter(temporary, CANDIDATES, compression="zstd", use_dictionary=False) as writer,
        ThreadPoolExecutor(threads) as pool,
    ):

        def advance(rows: int) -> None:
            with bar.get_lock():
                bar.update(rows)

        for file in pool.map(work, range(len(sizes))):
            with pa.memory_map(str(file)) as source:
                writer.write_table(pa.ipc.open_file(source).read_all(), row_group_size=1 << 17)
            for name, count in json.loads(file.with_suffix(".json").read_text()).items():
                total[name].update(count)
    if sum(sizes) != sum(total["reasons"].values()):
        raise RuntimeError(f"{part}: {sum(sizes)} rows, but accounted for are {total['reasons']}")
    write_json({"rows": sum(sizes), **total}, counts)
    shutil.rmtree(folder, ignore_errors=True)
    log.info("%s: %d rows: %s", part, sum(sizes), dict(sorted(total["reasons"].items())))


def _filter_group(
    part: Path,
    metadata: pq.FileMetaData,
    group: int,
    first: int,
    names: dict[str, str],
    settings: Settings,
    file: Path,
    advance: Callable[[int], None],
) -> None:
    """Write the candidates of one row group, and then its counts.

    first: the part's row at which the group begins. ValueError for a column of the wrong type.
    """
    reasons: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    seed = [settings.seed, zlib.crc32(part.stem.encode())]
    encoded = [names["nsfw"]] if "nsfw" in names else []
    with (
        pq.ParquetFile(
            part, metadata=metadata, pre_buffer=False, buffer_size=BUFFER, read_dictionary=encoded
        ) as source,
        publish(file) as temporary,
        pa.ipc.new_file(str(temporary), CANDIDATES) as writer,
    ):
        for batch in source.iter_batches(
            BATCH, row_groups=[group], columns=list(names.values()), use_threads=False
        ):
            rows = _with_files({role: batch.column(name) for role, name in names.items()})
            generator = np.random.default_rng([*seed, first])
            try:
                table = _select(rows, first, settings, generator, reasons)
            except pa.ArrowException as error:
                types = ", ".join(f"{name} ({batch.column(name).type})" for name in names.values())
                raise ValueError(
                    f"{part}, row group {group}: {error}. Of {types} one does not hold what its "
                    "name says: rename it, or leave it unread (captions.nsfw_drop: [], "
                    "similarity_min and min_side: null)"
                ) from error
            found = table["number"].value_counts().to_pylist()
            numbers.update({str(n["values"]): n["counts"] for n in found if n["values"]})
            writer.write_table(table)
            first += batch.num_rows
            advance(batch.num_rows)
    write_json({"reasons": reasons, "counting_by_number": numbers}, file.with_suffix(".json"))


def _select(
    columns: dict[str, pa.Array],
    first: int,
    settings: Settings,
    generator: np.random.Generator,
    reasons: Counter[str],
) -> pa.Table:
    """The candidates of one batch, in order; each row is counted in `reasons`."""
    columns |= {role: _unchecked(columns[role]) for role in ("url", "caption")}
    usable = np.ones(len(columns["url"]), bool)
    for reason, unusable in _unusable(columns, settings).items():
        reasons[reason] += int((usable & unusable).sum())
        usable &= ~unusable
    maybe = number_words.may_name(columns["caption"])
    maybe = maybe[usable[maybe]]
    words = number_words.find_all(_text(columns["caption"].take(pa.array(maybe))).to_pylist())
    words = words._replace(row=maybe[words.row])
    chosen = number_words.label_all(words, settings.several)
    counting = words.row[chosen]
    has_word = np.zeros(len(usable), bool)
    has_word[words.row] = True
    rest = np.flatnonzero(usable & ~has_word)
    size = min(round(settings.non_counting_ratio * len(counting)), len(rest))
    sampled = generator.choice(rest, size, replace=False)
    reasons.update(
        counting=len(counting),
        non_counting=len(sampled),
        several_numbers=int((usable & has_word).sum()) - len(counting),
        non_counting_not_sampled=len(rest) - len(sampled),
    )
    rows = np.sort(np.concatenate([counting, sampled]))
    selected = {role: column.take(pa.array(rows)) for role, column in columns.items()}
    place = np.searchsorted(rows, counting)
    return pa.table(
        {
            "sample_id": _identifiers(selected.get("sample_id", pa.array(first + rows))),
            "url": _text(selected["url"]),
            "caption": _text(selected["caption"]),
            "number": _at(place, words.number[chosen], len(rows)),
            "number_start": _at(place, words.start[chosen], len(rows)),
            "number_end": _at(place, words.end[chosen], len(rows)),
            "words": _lists(words, rows, counting),
        },
        schema=CANDIDATES,
    )


def _with_files(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """The columns with a file's name, where a row has one, as its address: `file:a/b.jpg`."""
    if FILE not in columns:
        return columns
    files = _text(_unchecked(columns[FILE]))
    is_named = pa.array(~_blank(files))
    urls = pc.binary_join_element_wise("file:", files, "")
    if "url" in columns:
        others = _text(_unchecked(columns["url"]))
    else:
        others = pa.nulls(len(files), pa.string())
    rest = {role: column for role, column in columns.items() if role != FILE}
    return rest | {"url": pc.if_else(is_named, urls, others)}


def _unusable(columns: dict[str, pa.Array], settings: Settings) -> dict[str, np.ndarray]:
    """Reason -> unusable rows, bool `(rows,)`; the first reason of a row counts."""
    found = {"no_url": _blank(columns["url"]), "no_caption": _blank(columns["caption"])}
    if "nsfw" in columns:
        verdicts = columns["nsfw"].cast(pa.dictionary(pa.int32(), pa.binary()))
        drop = {verdict.upper().encode() for verdict in settings.nsfw_drop}
        bad = pa.array([(v or b"").upper() in drop for v in verdicts.dictionary.to_pylist()])
        found["nsfw"] = _mask(bad.cast(pa.bool_()).take(verdicts.indices).fill_null(False))
    if "similarity" in columns:
        enough = pc.greater_equal(columns["similarity"].cast(pa.float64()), settings.similarity_min)
        found["low_similarity"] = ~_mask(enough.fill_null(False))
    if "width" in columns:
        sides = [columns[role].cast(pa.float64()) for role in ("width", "height")]
        enough = pc.greater_equal(
            pc.min_element_wise(*sides, skip_nulls=False), float(settings.min_side)
        )
        found["too_small"] = ~_mask(enough.fill_null(False))
    return found


def _mask(column: pa.Array) -> np.ndarray:
    """A boolean column without nulls as `(rows,)`; five times faster by way of bytes."""
    return column.cast(pa.uint8()).to_numpy().view(bool)


def _blank(column: pa.Array) -> np.ndarray:
    """Null or blank rows, bool `(rows,)`; the first byte rules out most."""
    _, offsets, data = column.buffers()
    offsets = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1]
    begin, end = offsets[:-1], offsets[1:]
    unsure = begin == end
    if column.null_count:
        unsure |= _mask(column.is_null())
    if len(data):
        first = np.frombuffer(data, np.uint8)[np.minimum(begin, len(data) - 1)]
        unsure |= (first <= ord(" ")) | (first >= 0x7F)
    rows = np.flatnonzero(unsure)
    trimmed = pc.utf8_trim_whitespace(_text(column.take(pa.array(rows))))
    blank = np.zeros(len(column), bool)
    blank[rows] = _mask(pc.equal(trimmed, "").fill_null(True))
    return blank


def _unchecked(column: pa.Array) -> pa.Array:
    """A column of text or bytes as strings, not checked to be UTF-8."""
    if pa.types.is_string(column.type):
        return column
    return column.cast(pa.binary()).view(pa.string())


def _text(column: pa.Array) -> pa.Array:
    """A string column in which invalid UTF-8 is replaced."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raw = column.view(pa.binary()).to_pylist()
        return pa.array([b if b is None else b.decode(errors="replace") for b in raw], pa.string())
    return column


def _identifiers(column: pa.Array) -> pa.Array:
    """Identifiers as text. Some copies of LAION store their integer ids in a float column."""
    text = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        whole = column.cast(pa.int64(), safe=False)  # differs from `column` for other values
        same = pc.equal(whole.cast(column.type, safe=False), column)
        text = pc.if_else(same, whole.cast(pa.string()), text)
    return _text(_unchecked(text))


def _at(place: np.ndarray, values: np.ndarray, length: int) -> pa.Array:
    """An array of `length` with `values` at `place`, and null elsewhere."""
    full, null = np.zeros(length, np.int64), np.ones(length, bool)
    full[place], null[place] = values, False
    return pa.array(full, mask=null)


def _lists(words: number_words.NumberWords, rows: np.ndarray, counting: np.ndarray) -> pa.Array:
    """The number words of each of `rows`; empty for rows that are not in `counting`."""
    selected = np.isin(words.row, counting)
    lengths = np.bincount(np.searchsorted(rows, words.row[selected]), minlength=len(rows))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    spans = (words.number[selected], words.start[selected], words.end[selected])
    fields = [pa.array(values, field.type) for values, field in zip(spans, WORD, strict=True)]
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.StructArray.from_arrays(fields, fields=list(WORD))
    )
