"""Composed counting sets: pairs made from a counting set's images until each number has enough.

A pair's boxes say where its objects are. Some are painted out (`erase`), or copied to free places
of their own image (`paste`), or a window holds fewer (`crop`); the caption's number follows. It
stays where objects of another class are copied (`paste_others`).
Sources are training pairs alone, so nothing composed is of a held-out pair. What comes out is a
counting set as `counting_set.assemble` writes it, and the images as the fetch stores them.
"""

import dataclasses
import hashlib
import io
import json
import logging
import os
import shutil
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat, zip_longest
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from countclip.data import image_edits
from countclip.data.captions import replace
from countclip.data.compose_sources import ComposeSettings, Source, read_sources, shrunk
from countclip.data.counting_set import COUNTING, Funnel, benchmark_pairs, benchmark_rows
from countclip.data.image_edits import Refused
from countclip.data.images import Unusable, decode
from countclip.data.near_duplicates import is_near
from countclip.data.number_words import NUMBERS, WORDS, NumberWord
from countclip.data.shards import MANIFEST, read_images, shards_of
from countclip.runtime.files import digest, progress, publish, sha256, write_json, write_table

log = logging.getLogger(__name__)

ORIGIN = {
    "source_part": pa.string(),  # the pair that it was composed from
    "source_key": pa.string(),
    "operation": pa.string(),
    "number_before": pa.int8(),
    "number_after": pa.int8(),  # of the image; `number` is the caption's
}
COMPOSED = pa.schema([*COUNTING, *pa.schema(ORIGIN)])
"""The pairs of a composed set; the columns of ORIGIN are null where a pair was not composed."""
RESULTS = pa.schema(
    {
        "reason": pa.string(),  # null: composed
        "image": pa.binary(),  # PNG, which leaves no marks of its own
        "sha256": pa.string(),
        "phash": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
    }
)
INDEX = pa.schema({"key": pa.string(), "shard": pa.string(), "member": pa.string()})
BLOCK = 256
"""Images between two checkpoints of a job, and members of a shard."""
TRIES = 4
"""Attempts with a source that may fail for one number."""


@dataclass(frozen=True)
class Plan:
    """One attempt: an image of `number` objects, from the source at this place."""

    source: int
    number: int
    operation: str
    seed: tuple[int, ...]


# ---- one image ----


def compose(image: np.ndarray, source: Source, plan: Plan, settings: ComposeSettings) -> np.ndarray:
    """An image of `plan.number` objects from a source's image; Refused with a reason."""
    rng = np.random.default_rng(plan.seed)
    if plan.operation == "paste":
        copies = plan.number - source.number
        return image_edits.paste(image, source.boxes, source.all_boxes, copies, rng, settings.edit)
    if plan.operation == "paste_others":
        is_chosen, room = source.other_class(image.shape[:2], rng, settings)
        others, most = source.others[is_chosen], min(room, settings.most_changed)
        copies = int(rng.integers(1, most, endpoint=True))
        return image_edits.paste(image, others, source.all_boxes, copies, rng, settings.edit)
    if plan.operation == "crop":
        x1, y1, x2, y2 = image_edits.crop(
            source.boxes, plan.number, image.shape[:2], rng, settings.edit
        )
        seen = image_edits.shared_areas(source.others, np.array([[x1, y1, x2, y2]])).ravel() > 0
        _refuse_more(source.other_classes[seen], plan.number)
        return image[y1:y2, x1:x2]
    _refuse_more(source.other_classes, plan.number)
    order = rng.permutation(source.number)
    gone, left = order[: source.number - plan.number], order[source.number - plan.number :]
    others = np.vstack([source.boxes[left], source.others])
    return image_edits.erase(image, source.boxes[gone], others, rng, settings.edit)


def _refuse_more(other_classes: np.ndarray, number: int) -> None:
    """Refuse an image in which another class would have more objects than the one counted."""
    if max(Counter(other_classes.tolist()).values(), default=0) > number:
        raise Refused("other_class")


def _result(body: bytes, source: Source, plan: Plan, settings: ComposeSettings) -> dict[str, Any]:
    """A row of RESULTS."""
    try:
        image, source = shrunk(decode(body), source)
        edited = Image.fromarray(np.ascontiguousarray(compose(image, source, plan, settings)))
    except Refused as error:
        return {"reason": str(error)}
    except Unusable:
        return {"reason": "unreadable"}
    buffer = io.BytesIO()
    edited.save(buffer, "PNG", compress_level=1)
    data = buffer.getvalue()
    return {
        "image": data,
        "sha256": sha256(data),
        "phash": str(imagehash.phash(edited)),
        "width": edited.width,
        "height": edited.height,
    }


# ---- the stage ----


class Planner:
    """Attempts, block after block, until each number has its pairs or no source is left for it.

    The largest numbers come first, as they have the fewest sources. Of these the least used come
    first, then those that change least. All depends on the seed and on earlier results alone.
    """

    def __init__(self, sources: list[Source], wanted: dict[int, int], settings: ComposeSettings):
        self._sources, self._settings = sources, settings
        self._uses = [0] * len(sources)
        self._tries: Counter[tuple[int, int]] = Counter()
        self.wanted = wanted  # number -> pairs still to compose

    def block(self) -> list[Plan]:
        """The next attempts, all of one number; none at the end."""
        for number in sorted(NUMBERS, reverse=True):
            if self.wanted[number] > 0 and (plans := self._plans(number)):
                return plans
        return []

    def count(self, plan: Plan, is_composed: bool) -> None:
        """Record what came of an attempt."""
        self._tries[plan.source, plan.number] += not is_composed
        self._uses[plan.source] += is_composed
        self.wanted[plan.number] -= is_composed

    def _plans(self, number: int) -> list[Plan]:
        settings = self._settings
        # Sources to take objects from, to add some to, and to leave the number of.
        fewer: list[tuple[int, int, int]] = []
        more: list[tuple[int, int, int]] = []
        same: list[tuple[int, int, int]] = []
        for place, source in enumerate(self._sources):
            change = source.number - number
            uses, tries = self._uses[place], self._tries[place, number]
            may = abs(change) <= settings.most_changed and uses < settings.per_source
            if may and tries < TRIES and self._operations(source, number):
                kind = fewer if change > 0 else more if change < 0 else same
                kind.append((uses + tries, abs(change), place))
        # In turn, so that no number is made by one operation alone where another can make it too.
        turns = zip_longest(sorted(fewer), sorted(more), sorted(same))
        chosen = [each for turn in turns for each in turn if each is not None]
        most = min(BLOCK, self.wanted[number])
        return [self._plan(place, number) for _, _, place in chosen[:most]]

    def _operations(self, source: Source, number: int) -> list[str]:
        if number == source.number:
            fits = ("paste_others",) if len(source.others) else ()
        else:
            fits = ("paste",) if number > source.number else ("erase", "crop")
        return [name for name in self._settings.operations if name in fits]

    def _plan(self, place: int, number: int) -> Plan:
        source = self._sources[place]
        attempt = self._uses[place] + self._tries[place, number]
        image = int(hashlib.sha256(source.row["sha256"].encode()).hexdigest()[:16], 16)
        seed = (self._settings.seed, image, number, attempt)
        operations = self._operations(source, number)
        operation = operations[np.random.default_rng((*seed, 1)).integers(len(operations))]
        return Plan(place, number, operation, seed)


def compose_pairs(
    *,
    counting: str | Path,
    non_counting: str | Path,
    class_frequency: str | Path,
    summary: str | Path,
    images: dict[str, str],
    detections: dict[str, str],
    benchmark: str | Path | None,
    name: str,
    output: dict[str, str],
    confidence: float,
    decontaminate: list[str],
    phash_distance: int,
    settings: ComposeSettings,
    state: str | Path,
    threads: int = 1,
) -> None:
    """Compose pairs from a counting set until each number has `per_number` of them.

    counting, non_counting, class_frequency, summary: the counting set's files. images, detections:
        part -> path, of its parts. benchmark: as in `counting_set.assemble`, with decontaminate and
        phash_distance; composed images are held to them too, and to the held-out pairs.
    name: of the composed set, and the part that its images are of.
    output: the same four files, `manifest` of the composed images, and `pairs`, their rows alone.
    confidence: lowest score of a detection that the counting set counts.
    state: folder for finished blocks; a killed job continues after the last one.
    threads: that edit images; they change no byte.
    """
    cv2.setNumThreads(1)
    pairs = pl.read_parquet(counting)
    is_train = pl.col("split") == "train"
    train_pairs = pairs.filter(is_train)
    sources, lost = read_sources(train_pairs, detections, images, confidence, settings)
    lost += Counter(heldout=len(pairs) - len(train_pairs))
    funnel = Funnel(len(pairs))
    funnel.step("sources", len(sources), dict(sorted(lost.items())))
    if not sources:
        raise RuntimeError(
            f"{counting}: no pair can be composed from ({dict(lost)}): loosen the bounds of"
            " compose, such as max_area, min_side or max_overlap"
        )
    train = Counter(train_pairs["number"].to_list())
    most = dict(zip(NUMBERS, settings.per_number, strict=True))
    planner = Planner(sources, {n: max(0, most[n] - train[n]) for n in NUMBERS}, settings)
    inputs = (counting, *images.values(), *detections.values(), *filter(None, [benchmark]))
    folder = Path(state) / digest(
        repr((settings, confidence, decontaminate, phash_distance)), *map(sha256, inputs)
    )
    heldout = pairs.filter(~is_train)["phash"].to_list()
    apart = benchmark_rows(benchmark, decontaminate)
    seen = set(pairs["sha256"])
    made: list[dict[str, Any]] = []
    blocks: list[tuple[Path, list[bool]]] = []
    attempts: Counter[str] = Counter()
    wanted = sum(planner.wanted.values())
    with (
        closing(SourceImages(sources, images, folder)) as files,
        ThreadPoolExecutor(threads) as pool,
        progress(total=wanted, unit="image", desc=f"compose {name}") as bar,
    ):
        while plans := planner.block():
            path = folder / f"{len(blocks):06d}.parquet"
            if not path.exists():
                chosen = [sources[plan.source] for plan in plans]
                bodies = map(files.read, chosen)
                rows = list(pool.map(_result, bodies, chosen, plans, repeat(settings)))
                write_table(pa.Table.from_pylist(rows, schema=RESULTS), path)
            results = pq.read_table(path, columns=RESULTS.names[:1] + RESULTS.names[2:]).to_pylist()
            table = [
                _row(sources[plan.source].row, plan, result, settings)
                for plan, result in zip(plans, results, strict=True)
            ]
            reasons = _reasons(table, results, heldout, apart, seen, decontaminate, phash_distance)
            for plan, row, result, reason in zip(plans, table, results, reasons, strict=True):
                attempts[reason or "composed"] += 1
                planner.count(plan, reason is None)
                if reason is None:
                    made.append(row | {"width": result["width"], "height": result["height"]})
            blocks.append((path, [reason is None for reason in reasons]))
            bar.update(sum(blocks[-1][1]))
    if not made:
        why = f"what was tried failed: {dict(attempts)}; loosen the bounds of compose"
        enough = "each number has as many pairs as per_number says; raise it"
        raise RuntimeError(f"{counting}: nothing was composed: {why if attempts else enough}")
    keyed = [row | {"key": f"{i:09d}", "part": name} for i, row in enumerate(made)]
    _store(keyed, blocks, output["manifest"])
    composed = pa.Table.from_pylist(keyed, schema=COMPOSED)
    write_table(composed, output["pairs"])
    whole = pl.concat([pairs, pl.from_arrow(composed)], how="diagonal_relaxed")
    write_table(whole.sort("part", "key").to_arrow().cast(COMPOSED), output["counting"])
    with publish(output["non_counting"]) as temporary:
        shutil.copyfile(non_counting, temporary)
    attempted = Funnel(sum(attempts.values()))
    attempted.step("compose", attempts.pop("composed", 0), dict(sorted(attempts.items())))
    counts = Counter(row["number"] for row in keyed)
    made_of = Counter(row["number_after"] for row in keyed)
    frequency = pl.read_csv(class_frequency).with_columns(
        pl.Series("train", [train[n] + counts[n] for n in NUMBERS])
    )
    with publish(output["class_frequency"]) as temporary:
        frequency.write_csv(temporary)
    base = json.loads(Path(summary).read_text(encoding="utf-8"))
    classes = Counter(base["counted_classes"]) + Counter(row["class_name"] for row in keyed)
    composed_summary = {
        "settings": dataclasses.asdict(settings),
        "pairs": len(pairs),
        "sources": funnel.steps,
        "attempts": attempted.steps[0]["rows"],
        "composed": attempted.steps,
        "numbers": [
            {"number": n, "composed": made_of[n], "missing": max(0, planner.wanted[n])}
            for n in NUMBERS
        ],
        "operations": dict(sorted(Counter(row["operation"] for row in keyed).items())),
    }
    write_json(
        base
        | {
            "train": base["train"] + len(keyed),
            "numbers": frequency.to_dicts(),
            "counted_classes": dict(sorted(classes.items())),
            "composed": composed_summary,
        },
        output["summary"],
    )
    for number, short in planner.wanted.items():
        if short > 0:
            log.warning("%s: %d pairs of %s are missing: no source is left", name, short,
                        WORDS[number])  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)


class SourceImages:
    """The files of all source images in one, for reading one here and one there.

    A tar is read from its beginning to its end, once, and memory need not hold them all.
    """

    def __init__(self, sources: list[Source], images: dict[str, str], folder: Path) -> None:
        path, index = folder / "sources.bin", folder / "sources.parquet"
        if not index.exists():
            self._write(sources, images, path, index)
        rows = pq.read_table(index).to_pylist()
        self._spans = {(row["part"], row["key"]): (row["start"], row["size"]) for row in rows}
        self._file = open(path, "rb")  # noqa: SIM115

    @staticmethod
    def _write(sources: list[Source], images: dict[str, str], path: Path, index: Path) -> None:
        spans, start = [], 0
        with publish(path) as temporary, open(temporary, "wb") as file:
            for part in sorted({source.row["part"] for source in sources}):
                keys = [each.row["key"] for each in sources if each.row["part"] == part]
                for key, body in read_images(images[part], keys):
                    file.write(body)
                    spans.append({"part": part, "key": key, "start": start, "size": len(body)})
                    start += len(body)
        write_table(pa.Table.from_pylist(spans), index)

    def read(self, source: Source) -> bytes:
        """The file of a source's image."""
        start, size = self._spans[source.row["part"], source.row["key"]]
        return os.pread(self._file.fileno(), size, start)

    def close(self) -> None:
        self._file.close()


def _row(
    source: dict[str, Any], plan: Plan, result: dict[str, Any], settings: ComposeSettings
) -> dict[str, Any]:
    """A row of COMPOSED, without its key and part."""
    word = NumberWord(source["number"], source["number_start"], source["number_end"])
    row = source | {
        "sha256": result["sha256"],
        "phash": result["phash"],
        "source_part": source["part"],
        "source_key": source["key"],
        "operation": plan.operation,
        "number_before": source["number"],
        "number_after": plan.number,
    }
    if settings.captions == "new":
        end = word.start + len(WORDS[plan.number])
        row |= {
            "caption": replace(source["caption"], word, plan.number),
            "number": plan.number,
            "number_end": end,
        }
    return row


def _reasons(
    rows: list[dict[str, Any]],
    results: list[dict[str, Any]],
    heldout: list[str],
    benchmark: pl.DataFrame,
    seen: set[str],
    decontaminate: list[str],
    distance: int,
) -> list[str | None]:
    """Why each attempt of a block gives no pair, or None; `seen` grows by the images of pairs."""
    reasons = [result["reason"] for result in results]
    made = [i for i, reason in enumerate(reasons) if reason is None]
    if not made:
        return reasons
    table = pl.DataFrame([{key: rows[i][key] for key in ("url", "caption", "phash")} for i in made])
    settings = {"decontaminate": decontaminate, "phash_distance": distance}
    of_benchmark = benchmark_pairs(table, benchmark, settings)
    near = is_near(table["phash"].to_list(), heldout, distance)
    for i, why, is_held in zip(made, of_benchmark, near, strict=True):
        image = rows[i]["sha256"]
        if why is not None:
            reasons[i] = f"benchmark_{why}"
        elif is_held:
            reasons[i] = "near_heldout"
        elif image in seen:
            reasons[i] = "same_image"
        else:
            seen.add(image)
    return reasons


def _store(
    rows: list[dict[str, Any]], blocks: list[tuple[Path, list[bool]]], manifest: str | Path
) -> None:
    """Publish the images of composed pairs as tar shards with an index, and then their manifest.

    rows: with their keys. blocks: files of RESULTS, and which of their rows became pairs.
    """
    keys = iter(row["key"] for row in rows)
    index = []
    with publish(shards_of(manifest)) as folder:
        (folder / "shards").mkdir(parents=True)
        for path, is_pair in blocks:
            shard = f"shards/{path.stem}.tar"
            bodies = pq.read_table(path, columns=["image"])["image"]
            with tarfile.open(folder / shard, "w") as tar:
                for place in np.flatnonzero(is_pair):
                    body, key = bodies[int(place)].as_py(), next(keys)
                    member = tarfile.TarInfo(f"{key}.png")  # of no owner and of no time
                    member.size = len(body)
                    tar.addfile(member, io.BytesIO(body))
                    index.append({"key": key, "shard": shard, "member": member.name})
        write_table(pa.Table.from_pylist(index, schema=INDEX), folder / "index.parquet")
    facts = [row | {"status": "ok"} for row in rows]
    write_table(pa.Table.from_pylist(facts, schema=MANIFEST), manifest)
