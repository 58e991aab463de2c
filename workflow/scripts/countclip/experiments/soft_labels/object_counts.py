"""Mentions of each object of a caption set, in bounded memory; a killed job goes on.

The mentions of each batch of captions go into files on disk, each in PARTS by a hash of the object,
so that all mentions of an object are in one part. The parts are then summed up one after the other.
"""

import json
import logging
import os
import shutil
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from countclip.data.objects import UNITS, Objects, Unit
from countclip.experiments.soft_labels.caption_sets import CaptionSet, files_of, read_captions
from countclip.runtime.files import digest, progress, publish, write_json

log = logging.getLogger(__name__)

PARTS = 32
TAIL = (3, 10)
"""Share of an AlignCLIP tail: floor(0.3 N) objects. Its three published sizes are that, exactly."""
MENTIONS = pa.schema({"object": pa.string(), "mentions": pa.int64()})
OBJECTS = pa.schema({"object": pa.string(), "mentions": pa.int64(), "tail": pa.bool_()})


class Store:
    """The mentions of batches of captions, in a folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def has(self, batch: str) -> bool:
        return (self.folder / f"{batch}.json").exists()

    def add(self, batch: str, mentions: dict[Unit, Counter[str]], counts: dict[str, int]) -> None:
        """Write the mentions of a batch, and then its counts, which say that it is done."""
        for unit, objects in mentions.items():
            parts: list[list[str]] = [[] for _ in range(PARTS)]
            for name in objects:
                parts[zlib.crc32(name.encode()) % PARTS].append(name)
            with (
                publish(self.folder / f"{batch}.{unit}.parquet") as temporary,
                pq.ParquetWriter(temporary, MENTIONS, compression="zstd") as writer,
            ):
                for names in parts:
                    numbers = [objects[name] for name in names]
                    table = pa.table({"object": names, "mentions": numbers}, schema=MENTIONS)
                    writer.write_table(table, row_group_size=max(len(names), 1))
        write_json(counts, self.folder / f"{batch}.json")

    def counts(self) -> Counter[str]:
        """The counts of all batches, summed."""
        total: Counter[str] = Counter()
        for path in sorted(self.folder.glob("*.json")):
            total.update(json.loads(path.read_text(encoding="utf-8")))
        return total

    def merged(self, unit: Unit) -> Iterator[pa.Table]:
        """The mentions of a unit, each object once, part by part."""
        files = sorted(self.folder.glob(f"*.{unit}.parquet"))
        for part in range(PARTS):
            tables = []
            for path in files:
                with pq.ParquetFile(path) as file:
                    tables.append(file.read_row_group(part, use_threads=False))
                if sum(len(table) for table in tables) > 1 << 20:
                    tables = [_summed(tables)]
            yield _summed(tables)


def _summed(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        return MENTIONS.empty_table()
    grouped = pa.concat_tables(tables).group_by("object", use_threads=False)
    summed = grouped.aggregate([("mentions", "sum")]).rename_columns(["object", "mentions"])
    return summed.cast(MENTIONS)


def write_objects(store: Store, unit: Unit, objects_parquet: str | Path) -> dict[str, int]:
    """Write the objects of a unit with their mentions, and which are the tail; count them.

    The tail is the rarest floor(0.3 N) of N objects, ordered by (mentions, object): the line runs
    through objects of equal frequency, so the order is part of the definition. Objects are sorted
    within each part of the file alone.
    """
    sizes: Counter[int] = Counter()
    for table in store.merged(unit):
        for group in table["mentions"].value_counts().to_pylist():
            sizes[group["values"]] += group["counts"]
    objects = sizes.total()
    tail = objects * TAIL[0] // TAIL[1]
    mentions, left, last = 0, tail, 0
    for number in sorted(sizes):
        taken = min(left, sizes[number])
        mentions, left = mentions + taken * number, left - taken
        if taken:
            last, ties = number, taken
    border = _first(store, unit, last, ties) if tail else ""
    with (
        publish(objects_parquet) as temporary,
        pq.ParquetWriter(temporary, OBJECTS, compression="zstd") as writer,
    ):
        for table in store.merged(unit):
            table = table.sort_by([("mentions", "descending"), ("object", "ascending")])
            number, name = table["mentions"], table["object"]
            equal = pc.and_(pc.equal(number, last), pc.less_equal(name, border))
            rare = pc.or_(pc.less(number, last), equal)
            writer.write_table(pa.table([name, number, rare], schema=OBJECTS))
    return {
        "objects": objects,
        "mentions": sum(number * size for number, size in sizes.items()),
        "seen_once": sizes[1],
        "tail_objects": tail,
        "tail_mentions": mentions,
    }


def _first(store: Store, unit: Unit, number: int, ties: int) -> str:
    """The last of the first `ties` objects, by name, of those with `number` mentions."""
    names = [
        table.filter(pc.equal(table["mentions"], number))["object"] for table in store.merged(unit)
    ]
    chunks = [chunk for column in names for chunk in column.chunks]
    column = pa.chunked_array(chunks, pa.string())
    return column.take(pc.sort_indices(column)[ties - 1 : ties])[0].as_py()


def count_objects(
    captions: CaptionSet,
    *,
    objects: dict[Unit, str],
    counts_json: str | Path,
    state: str | Path,
    processes: int = 1,
) -> None:
    """Write the objects of a caption set by unit, and a JSON that counts captions and objects.

    objects: unit -> Parquet file. state: folder of finished batches; a killed job continues from
    there. processes: that parse captions; they do not change the result.
    """
    files = files_of(captions)
    stamps = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    store = Store(Path(state) / digest(repr(captions), *stamps))
    _parse(files, captions, store, processes)
    counts = store.counts()
    dropped = {
        name.removeprefix("dropped_"): number
        for name, number in counts.items()
        if name.startswith("dropped_")
    }
    result = {"captions": counts["captions"], "dropped": dropped, "units": {}}
    for unit, path in objects.items():
        result["units"][unit] = {
            **write_objects(store, unit, path),
            "captions_without": counts[f"without_{unit}"],
        }
    write_json(result, counts_json)
    shutil.rmtree(store.folder, ignore_errors=True)
    log.info("%d captions; dropped: %s", counts["captions"], dropped)


def _parse(files: list[Path], captions: CaptionSet, store: Store, processes: int) -> None:
    """Parse what the store lacks, with few batches in memory at a time."""
    finished = [store.has(_mark(number)) for number in range(len(files))]
    if any(finished):
        log.info("%d of %d files are done already", sum(finished), len(files))
    running: dict[Future[int], int] = {}  # -> its file
    with (
        progress(total=None, unit="caption", desc="parse captions") as bar,
        ProcessPoolExecutor(processes, get_context("spawn"), _load, (store.folder,)) as pool,
    ):

        def collect(at_most: int, reading: int) -> None:
            """Wait until `at_most` batches run; mark the files before `reading` that are done."""
            while len(running) > at_most:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    bar.update(future.result())
                    file = running.pop(future)
                    if file < reading and file not in running.values():
                        write_json({}, store.folder / f"{_mark(file)}.json")

        for number, file in enumerate(files):
            if finished[number]:
                continue
            for i, batch in enumerate(read_captions(file, captions)):
                name = f"{number:06}-{i:06}"
                if not store.has(name):
                    collect(processes, number)
                    future = pool.submit(_parse_batch, name, batch.texts, dict(batch.dropped))
                    running[future] = number
            if number not in running.values():
                write_json({}, store.folder / f"{_mark(number)}.json")
        collect(0, len(files))


def _mark(file: int) -> str:
    """The name under which the store has that all batches of a file are done."""
    return f"{file:06}-all"


_objects: Objects
_store: Store


def _load(folder: Path) -> None:
    """Prepare a process of the pool; it ends with the one that started it, however that ends."""
    global _objects, _store
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _objects, _store = Objects(), Store(folder)


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(1)


def _parse_batch(name: str, texts: list[str], dropped: dict[str, int]) -> int:
    mentions: dict[Unit, Counter[str]] = {unit: Counter() for unit in UNITS}
    counts = Counter({f"dropped_{reason}": number for reason, number in dropped.items()})
    counts["captions"] = len(texts)
    for text in texts:
        for unit, found in _objects.in_each_unit(text).items():
            mentions[unit].update(found)
            counts[f"without_{unit}"] += not found
    _store.add(name, mentions, counts)
    return len(texts)
