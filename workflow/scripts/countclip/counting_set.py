"""Which pairs teach counting? Those whose picture shows as many objects as their caption says.

The objects counted are those of one class (in the paper, the most frequent one). Pairs of the
benchmark and duplicates go, a part is held out, and a funnel says where every row went.
"""

import hashlib
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import imagehash
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from countclip import captions
from countclip.files import progress, publish, write_json, write_table
from countclip.pictures import Unusable, decode, read_images

log = logging.getLogger(__name__)

_PAIR = {
    "key": pa.string(),
    "part": pa.string(),
    "sample_id": pa.string(),
    "url": pa.string(),
    "caption": pa.string(),
}
_IMAGE = {"sha256": pa.string(), "phash": pa.string()}
COUNTING = pa.schema(
    {
        **_PAIR,
        "number": pa.int8(),
        "number_start": pa.int32(),  # span of the number word in characters
        "number_end": pa.int32(),
        "class_name": pa.string(),
        **_IMAGE,
        "split": pa.string(),  # train | heldout
    }
)
NON_COUNTING = pa.schema(_PAIR | _IMAGE)


class Funnel:
    """Rows in, rows out, and why; RuntimeError when a step loses a row without a reason."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.steps: list[dict[str, Any]] = []

    def step(self, name: str, kept: int, lost: dict[str, int]) -> None:
        if kept + sum(lost.values()) != self.rows:
            raise RuntimeError(
                f"the funnel leaks: {name} had {self.rows} rows, kept {kept}, and lost {lost}"
            )
        self.steps.append({"step": name, "rows": self.rows, "kept": kept, "lost": lost})
        self.rows = kept


def match(
    classes: list[int], number: int, rule: Literal["most_frequent", "any"] = "most_frequent"
) -> int | None:
    """The class of which exactly `number` objects were detected, or None.

    classes: one class id an object. `most_frequent`: the class with most objects must be it (of
    several with as many, the lowest id stands for all). `any`: any class will do.
    """
    if rule not in ("most_frequent", "any"):
        raise ValueError(f"class_rule: {rule!r} is neither 'most_frequent' nor 'any'")
    counts = Counter(classes)
    if rule == "most_frequent" and counts and max(counts.values()) != number:
        return None
    return min((cls for cls, count in counts.items() if count == number), default=None)


def hamming(left: list[str], right: list[str]) -> np.ndarray:
    """Different bits between perceptual hashes in hex: `(left, right)`, from 0 to 64."""
    bits = [np.array([int(h, 16) for h in hashes], np.uint64) for hashes in (left, right)]
    return np.bitwise_count(bits[0][:, None] ^ bits[1][None, :])


def hold_out(numbers: list[int], digests: list[str], fraction: float, seed: int) -> list[str]:
    """`train` or `heldout` for each pair, `fraction` of each number held out.

    At least one of a number that has two or more, and never all. Which ones depends on `seed` and
    the image's digest alone, so other pairs coming or going hardly move the rest.
    """
    order = [hashlib.sha256(f"{seed}:{digest}".encode()).digest() for digest in digests]
    split = ["train"] * len(numbers)
    for number in set(numbers):
        rows = sorted((i for i, n in enumerate(numbers) if n == number), key=order.__getitem__)
        wanted = min(max(1, round(fraction * len(rows))), len(rows) - 1) if fraction > 0 else 0
        for row in rows[:wanted]:
            split[row] = "heldout"
    return split


def assemble(
    parts: dict[str, dict[str, str]],
    benchmark: str | Path,
    output: dict[str, str],
    *,
    class_rule: Literal["most_frequent", "any"],
    confidence: float,
    heldout_fraction: float,
    decontaminate: list[str],
    phash_distance: int,
    seed: int,
) -> None:
    """Make the counting set of all parts.

    parts: name -> paths of its candidates, counts, images (manifest) and detections.
    output: paths for counting, non_counting, class_frequency and summary.
    confidence: score from which a detection counts.
    decontaminate: how a pair is known to be of the benchmark: url, caption, phash (up to
        `phash_distance` of 64 bits different, as between what is trained on and what is held out).
    """
    if unknown := set(decontaminate) - {"url", "caption", "phash"}:
        raise ValueError(f"counting_set.decontaminate: unknown {sorted(unknown)}")
    filtered: Counter[str] = Counter()
    for paths in parts.values():
        filtered.update(json.loads(Path(paths["counts"]).read_text())["reasons"])
    rows = pl.concat([_read(name, paths, confidence) for name, paths in sorted(parts.items())])
    counting = rows.filter(pl.col("number").is_not_null())
    others = rows.filter(pl.col("number").is_null())
    names = _class_names(parts)
    theirs = pl.read_parquet(benchmark, columns=["url", "caption", "phash"])

    total, unusable = sum(filtered.values()), ("no_url", "no_caption")
    funnel, other_funnel = Funnel(total), Funnel(total)
    no_number = filtered["non_counting"] + filtered["non_counting_not_sampled"]
    lost = {key: filtered[key] for key in (*unusable, "several_numbers")}
    funnel.step("filter", len(counting), lost | {"no_number_word": no_number})
    lost = {key: filtered[key] for key in unusable} | {
        "number_word": filtered["counting"] + filtered["several_numbers"],
        "not_sampled": filtered["non_counting_not_sampled"],
    }
    other_funnel.step("filter", len(others), lost)

    downloaded = _keep(funnel, "download", counting, _failures(counting))
    others = _keep(other_funnel, "download", others, _failures(others))

    found = [
        None if classes is None else match(classes, number, class_rule)
        for classes, number in zip(downloaded["classes"], downloaded["number"], strict=True)
    ]
    fates = [
        None if cls is not None else _mismatch(classes)
        for cls, classes in zip(found, downloaded["classes"], strict=True)
    ]
    class_names = pl.Series("class_name", [names.get(cls) for cls in found], pl.String)
    matched = _keep(funnel, "detect", downloaded.with_columns(class_names), fates)

    kept = _keep(funnel, "duplicates", matched, _duplicates(matched))
    kept = _hashed(funnel, kept, parts)
    fates = _benchmark_pairs(kept, theirs, decontaminate, phash_distance)
    kept = _keep(funnel, "benchmark", kept, fates)
    others = _keep(other_funnel, "duplicates", others, _duplicates(others, kept))
    others = _hashed(other_funnel, others, parts)
    fates = _benchmark_pairs(others, theirs, decontaminate, phash_distance)
    others = _keep(other_funnel, "benchmark", others, fates)

    split = hold_out(kept["number"].to_list(), kept["sha256"].to_list(), heldout_fraction, seed)
    kept = kept.with_columns(pl.Series("split", split, pl.String))
    heldout = kept.filter(pl.col("split") == "heldout")["phash"].to_list()
    close = _near(kept, heldout, phash_distance) & (kept["split"] == "train").to_numpy()
    kept = _keep(funnel, "split", kept, ["near_heldout" if c else None for c in close])
    close = _near(others, heldout, phash_distance)
    others = _keep(other_funnel, "split", others, ["near_heldout" if c else None for c in close])
    write_table(_typed(kept, COUNTING), output["counting"])
    write_table(_typed(others, NON_COUNTING), output["non_counting"])
    frequency = _frequency(counting, downloaded, matched, kept)
    with publish(output["class_frequency"]) as temporary:
        frequency.write_csv(temporary)
    summary = {
        "rows": total,
        "counting": funnel.steps,
        "non_counting": other_funnel.steps,
        "train": len(kept) - len(heldout),
        "heldout": len(heldout),
        "counted_classes": dict(sorted(Counter(kept["class_name"]).items())),
    }
    write_json(summary, output["summary"])
    for step in funnel.steps:
        log.info("%(step)s: %(rows)d rows, %(kept)d kept, lost %(lost)s", step)
    if len(kept) == len(heldout):
        raise RuntimeError(
            f"no pair is left to teach counting: see {output['summary']}. Use more parts "
            "(laion.parts) or lower counting_set.confidence"
        )


def _read(part: str, paths: dict[str, str], confidence: float) -> pl.DataFrame:
    """Candidates with what became of their download and the class of each confident detection."""
    rows = pl.read_parquet(paths["candidates"])
    images = pl.read_parquet(paths["images"])
    if not rows["url"].equals(images["url"]):
        raise ValueError(f"{paths['images']} does not list the rows of {paths['candidates']}")
    detections = pl.read_parquet(paths["detections"], columns=["key", "class_id", "score"])
    classes = [
        None if ids is None else [i for i, s in zip(ids, scores, strict=True) if s >= confidence]
        for ids, scores in zip(detections["class_id"], detections["score"], strict=True)
    ]
    detections = detections.select("key", classes=pl.Series(classes, dtype=pl.List(pl.Int16)))
    rows = rows.with_columns(images.select("key", "status", "sha256"), part=pl.lit(part))
    return rows.join(detections, on="key", how="left", maintain_order="left")


def _class_names(parts: dict[str, dict[str, str]]) -> dict[int, str]:
    found = {
        pq.read_schema(paths["detections"]).metadata[b"class_names"] for paths in parts.values()
    }
    if len(found) > 1:
        raise ValueError("the parts' detections come from detectors with different classes")
    return {int(number): name for number, name in json.loads(found.pop()).items()}


def _keep(funnel: Funnel, step: str, rows: pl.DataFrame, fates: list[str | None]) -> pl.DataFrame:
    """The rows without a fate; the others are counted by it."""
    lost = Counter(fate for fate in fates if fate is not None)
    kept = rows.filter(pl.Series([fate is None for fate in fates], dtype=pl.Boolean))
    funnel.step(step, len(kept), dict(sorted(lost.items())))
    return kept


def _failures(rows: pl.DataFrame) -> list[str | None]:
    return [None if status == "ok" else status for status in rows["status"]]


def _mismatch(classes: list[int] | None) -> str:
    if classes is None:
        return "unreadable"
    return "another_number" if len(classes) else "no_object"


def _duplicates(rows: pl.DataFrame, taken: pl.DataFrame | None = None) -> list[str | None]:
    """Pairs and images that came before, or that are among `taken`."""
    images = set() if taken is None else set(taken["sha256"])
    used, pairs, fates = frozenset(images), set(), []
    for url, caption, image in rows.select("url", "caption", "sha256").iter_rows():
        pair = (_address(url), _words(caption))
        if image in used:
            fates.append("image_of_counting_set")
        elif pair in pairs:
            fates.append("same_pair")
        elif image in images:
            fates.append("same_image")
        else:
            fates.append(None)
        pairs.add(pair)
        images.add(image)
    return fates


def _benchmark_pairs(
    rows: pl.DataFrame, theirs: pl.DataFrame, by: list[str], distance: int
) -> list[str | None]:
    """By what each row is known to be of the benchmark, if it is."""
    urls = {_address(url) for url in theirs["url"]} if "url" in by else set()
    texts = {_words(text) for text in theirs["caption"]} if "caption" in by else set()
    hashes = theirs["phash"].drop_nulls().to_list() if "phash" in by else []
    return [
        "url" if _address(url) in urls
        else "caption" if _words(caption) in texts
        else "phash" if close else None
        for url, caption, close in zip(
            rows["url"], rows["caption"], _near(rows, hashes, distance), strict=True
        )
    ]  # fmt: skip


def _near(rows: pl.DataFrame, hashes: list[str], distance: int) -> np.ndarray:
    """Whether the picture of each row is within `distance` bits of one of `hashes`."""
    near = np.zeros(len(rows), bool)
    for start in range(0, len(rows), 4096):  # bounds the memory of the matrix
        block = rows["phash"][start : start + 4096].to_list()
        near[start : start + 4096] = (hamming(block, hashes) <= distance).any(axis=1)
    return near


def _address(url: str) -> str:
    return url.strip().partition("://")[2].partition("#")[0].rstrip("/") or url


def _words(caption: str) -> str:
    return " ".join(caption.casefold().split())


def _hashed(funnel: Funnel, rows: pl.DataFrame, parts: dict[str, dict[str, str]]) -> pl.DataFrame:
    """The rows whose image can be read, with its perceptual hash (16 hex digits)."""
    hashes: dict[tuple[str, str], str] = {}
    with progress(total=len(rows), unit="image", desc="perceptual hashes") as bar:
        for (part,), group in rows.group_by(["part"], maintain_order=True):
            for key, data in read_images(parts[part]["images"], group["key"]):
                bar.update()
                try:
                    hashes[part, key] = str(imagehash.phash(decode(data)))
                except Unusable as error:
                    log.warning("%s, %s: unreadable: %s", part, key, error)
    column = [hashes.get(pair) for pair in rows.select("part", "key").iter_rows()]
    rows = rows.with_columns(phash=pl.Series(column, dtype=pl.String))
    fates = [None if phash else "unreadable" for phash in column]
    return _keep(funnel, "read", rows, fates)


def _typed(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return rows.select(schema.names).sort("part", "key").to_arrow().cast(schema)


def _frequency(
    candidates: pl.DataFrame, downloaded: pl.DataFrame, matched: pl.DataFrame, kept: pl.DataFrame
) -> pl.DataFrame:
    columns = {
        "candidates": candidates,
        "downloaded": downloaded,
        "matched": matched,
        "train": kept.filter(pl.col("split") == "train"),
        "heldout": kept.filter(pl.col("split") == "heldout"),
    }
    counts = {name: Counter(frame["number"].to_list()) for name, frame in columns.items()}
    numbers = captions.NUMBERS
    return pl.DataFrame(
        {"number": numbers, "word": [captions.WORDS[n] for n in numbers]}
        | {name: [count[n] for n in numbers] for name, count in counts.items()}
    )
