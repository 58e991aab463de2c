"""Counting set: pairs whose image shows as many objects as the caption says.

The objects counted are those of one class (in the paper, the most frequent one). Duplicates and
pairs of the benchmark are removed, numbers with too many pairs are capped, and a part is held out.
A funnel accounts for every row.
"""

import hashlib
import json
import logging
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import imagehash
import polars as pl
import pyarrow as pa

from countclip.data import number_words
from countclip.data.detections import class_names
from countclip.data.images import Unusable, decode
from countclip.data.near_duplicates import is_near
from countclip.data.nouns import Nouns
from countclip.data.shards import read_images
from countclip.runtime.files import progress, publish, write_json, write_table

log = logging.getLogger(__name__)

Rule = Literal["most_frequent", "caption_noun", "any", "none"]
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
        "class_name": pa.string(),  # of the objects counted; null where nothing was counted
        **_IMAGE,
        "split": pa.string(),  # train | heldout
    }
)
NON_COUNTING = pa.schema(_PAIR | _IMAGE)


class Funnel:
    """Rows before and after each step, and the reasons for those lost.

    RuntimeError if a step loses a row without a reason.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.steps: list[dict[str, Any]] = []

    def step(self, name: str, left: int, lost: dict[str, int]) -> None:
        """Record a step: the number of rows left, and of those lost by reason."""
        if left + sum(lost.values()) != self.rows:
            raise RuntimeError(
                f"the funnel leaks: {name} had {self.rows} rows, kept {left}, and lost {lost}"
            )
        self.steps.append({"step": name, "rows": self.rows, "kept": left, "lost": lost})
        self.rows = left


def match(
    classes: list[int],
    number: int,
    rule: Rule = "most_frequent",
    caption_classes: set[int] | None = None,
) -> int | None:
    """The class of which exactly `number` objects were detected, or None; of several, the lowest.

    classes: the class id of each object. caption_classes: the classes that the caption names.
    rule: `most_frequent`: the class must have the most objects, alone or with others.
        `caption_noun`: it must be among `caption_classes`. `any`: it may be any class.
    """
    counts = Counter(classes)
    right = {cls for cls, count in counts.items() if count == number}
    if rule == "most_frequent":
        right = right if counts and max(counts.values()) == number else set()
    elif rule == "caption_noun":
        right &= caption_classes or set()
    elif rule != "any":
        raise ValueError(f"class_rule: {rule!r} counts nothing")
    return min(right, default=None)


def shuffled(digests: list[str], seed: int) -> list[int]:
    """All rows in a random order that depends only on `seed` and the image digests.

    So other rows hardly influence whether a row is among the first.
    """
    ranks = [hashlib.sha256(f"{seed}:{digest}".encode()).digest() for digest in digests]
    return sorted(range(len(digests)), key=ranks.__getitem__)


def cap(
    numbers: list[int], digests: list[str], most: list[int] | None, seed: int
) -> list[str | None]:
    """`above_cap` for each pair beyond the cap of its number, else None.

    most: the caps of two to ten, or None. Paiss et al. undersample in this way against the
        imbalance of the numbers (CountCLIP, section 2.3).
    """
    reasons: list[str | None] = [None] * len(numbers)
    if most is not None:
        room = dict(zip(number_words.NUMBERS, most, strict=True))
        for row in shuffled(digests, seed):
            room[numbers[row]] -= 1
            reasons[row] = "above_cap" if room[numbers[row]] < 0 else None
    return reasons


def hold_out(numbers: list[int], digests: list[str], fraction: float, seed: int) -> list[str]:
    """`train` or `heldout` for each pair; `fraction` of each number is held out.

    A number with two or more pairs has at least one held out, and never all. The choice depends on
    `seed` and the image digests (`shuffled`), so other pairs hardly influence it.
    """
    rows_of = defaultdict(list)
    for row in shuffled(digests, seed):
        rows_of[numbers[row]].append(row)
    split = ["train"] * len(numbers)
    for rows in rows_of.values():
        size = min(max(1, round(fraction * len(rows))), len(rows) - 1) if fraction > 0 else 0
        for row in rows[:size]:
            split[row] = "heldout"
    return split


def assemble(
    *,
    parts: dict[str, dict[str, str]],
    benchmark: str | Path | None,
    output: dict[str, str],
    nouns_csv: str | Path | None = None,
    **settings: Any,
) -> None:
    """Assemble one counting set from all parts.

    parts: name -> paths of its candidates, counts, images (manifest) and, unless `class_rule` is
        none, detections.
    benchmark: path of its benchmark.parquet; None where nothing is decontaminated. output: paths
        for counting, non_counting, class_frequency and summary.
    nouns_csv: the table of `nouns.Nouns`, for `class_rule` caption_noun.
    settings: the config's section `counting_set`:
    class_rule: as in `match`; or none: all downloaded pairs (the naive filtering of Paiss et al.).
    confidence: lowest score of a detection that counts.
    max_per_number: as in `cap`.
    decontaminate: criteria of a benchmark duplicate: url, caption, phash. phash_distance: largest
        Hamming distance (of 64 bits) of near duplicates, here and between training and held-out
        pairs.
    heldout_fraction, seed: as in `hold_out`.
    non_counting_per_counting: most non-counting pairs for each counting pair, or None for all.
    """
    if unknown := set(settings["decontaminate"]) - {"url", "caption", "phash"}:
        raise ValueError(f"counting_set.decontaminate: unknown {sorted(unknown)}")
    seed, distance = settings["seed"], settings["phash_distance"]
    rows = pl.concat([_read(name, paths) for name, paths in sorted(parts.items())])
    apart = benchmark_rows(benchmark, settings["decontaminate"])

    funnel, candidates = _candidates(rows, parts, counting=True)
    downloaded = _drop(funnel, "download", candidates, _failures(candidates))
    matched = _matched(funnel, downloaded, parts, nouns_csv, settings)
    pairs = _drop(funnel, "duplicates", matched, _duplicates(matched))
    numbers, digests = pairs["number"].to_list(), pairs["sha256"].to_list()
    pairs = _drop(funnel, "cap", pairs, cap(numbers, digests, settings["max_per_number"], seed))
    pairs = _hashed(funnel, pairs, parts)
    pairs = _drop(funnel, "benchmark", pairs, benchmark_pairs(pairs, apart, settings))
    numbers, digests = pairs["number"].to_list(), pairs["sha256"].to_list()
    split = hold_out(numbers, digests, settings["heldout_fraction"], seed)
    pairs = pairs.with_columns(pl.Series("split", split, pl.String))
    heldout = pairs.filter(pl.col("split") == "heldout")["phash"].to_list()
    near = is_near(pairs["phash"].to_list(), heldout, distance)
    near &= (pairs["split"] == "train").to_numpy()
    pairs = _drop(funnel, "split", pairs, ["near_heldout" if each else None for each in near])

    other_funnel, others = _candidates(rows, parts, counting=False)
    others = _drop(other_funnel, "download", others, _failures(others))
    others = _drop(other_funnel, "duplicates", others, _duplicates(others, pairs))
    ratio = settings["non_counting_per_counting"]
    order = shuffled(others["sha256"].to_list(), seed)
    excess = set() if ratio is None else set(order[round(ratio * len(pairs)) :])
    reasons = ["not_sampled" if row in excess else None for row in range(len(others))]
    others = _drop(other_funnel, "sample", others, reasons)
    others = _hashed(other_funnel, others, parts)
    duplicates = benchmark_pairs(others, apart, settings)
    others = _drop(other_funnel, "benchmark", others, duplicates)
    near = is_near(others["phash"].to_list(), heldout, distance)
    others = _drop(
        other_funnel, "split", others, ["near_heldout" if each else None for each in near]
    )

    write_table(_typed(pairs, COUNTING), output["counting"])
    write_table(_typed(others, NON_COUNTING), output["non_counting"])
    frequency = _frequency(candidates, downloaded, matched, pairs)
    with publish(output["class_frequency"]) as temporary:
        frequency.write_csv(temporary)
    summary = {
        "settings": settings,
        "rows": funnel.steps[0]["rows"],
        "counting": funnel.steps,
        "non_counting": other_funnel.steps,
        "train": len(pairs) - len(heldout),
        "heldout": len(heldout),
        "non_counting_pairs": len(others),
        "numbers": frequency.to_dicts(),
        "counted_classes": dict(sorted(Counter(pairs["class_name"].drop_nulls()).items())),
    }
    write_json(summary, output["summary"])
    for step in funnel.steps:
        log.info("%(step)s: %(rows)d rows, %(kept)d kept, lost %(lost)s", step)
    if len(pairs) == len(heldout):
        left = ", ".join(f"{step['step']} {step['kept']}" for step in funnel.steps)
        raise RuntimeError(
            f"no pair is left to teach counting. Of {funnel.steps[0]['rows']} rows these were left "
            f"after each step: {left}. Use more parts (laion.parts) or more images of yours, or "
            "lower counting_set.confidence"
        )


def benchmark_rows(benchmark: str | Path | None, criteria: list[str]) -> pl.DataFrame:
    """Url, caption and phash of a benchmark's rows; further benchmarks have no addresses."""
    columns = {"url": pl.String, "caption": pl.String, "phash": pl.String}
    if benchmark is None:
        if criteria:
            raise ValueError(
                f"counting_set.decontaminate is {criteria}, and there is no benchmark: set it to []"
            )
        return pl.DataFrame(schema=columns)
    rows = pl.read_parquet(benchmark)
    if "url" not in rows.columns:
        rows = rows.with_columns(url=pl.lit(None, pl.String))
    return rows.select(list(columns))


def _read(part: str, paths: dict[str, str]) -> pl.DataFrame:
    """The candidates of a part with the status of their download."""
    rows = pl.read_parquet(paths["candidates"])
    images = pl.read_parquet(paths["images"])
    if not rows["url"].equals(images["url"]):
        raise ValueError(f"{paths['images']} does not list the rows of {paths['candidates']}")
    return rows.with_columns(images.select("key", "status", "sha256"), part=pl.lit(part))


def _candidates(
    rows: pl.DataFrame, parts: dict[str, dict[str, str]], counting: bool
) -> tuple[Funnel, pl.DataFrame]:
    """The counting or non-counting candidates, and their funnel, from all rows of LAION."""
    lost: Counter[str] = Counter()
    for paths in parts.values():
        lost.update(json.loads(Path(paths["counts"]).read_text())["reasons"])
    funnel = Funnel(sum(lost.values()))
    if counting:
        candidates = rows.filter(pl.col("number").is_not_null())
        renamed = dict.fromkeys(("non_counting", "non_counting_not_sampled"), "no_number_word")
    else:
        candidates = rows.filter(pl.col("number").is_null())
        renamed = dict.fromkeys(("counting", "several_numbers"), "number_word")
        renamed["non_counting_not_sampled"] = "not_sampled"
    del lost["counting" if counting else "non_counting"]
    for reason, name in renamed.items():
        lost[name] += lost.pop(reason, 0)
    funnel.step("filter", len(candidates), dict(sorted(lost.items())))
    return funnel, candidates


def _matched(
    funnel: Funnel,
    rows: pl.DataFrame,
    parts: dict[str, dict[str, str]],
    nouns_csv: str | Path | None,
    settings: dict[str, Any],
) -> pl.DataFrame:
    """The rows whose image shows as many objects as the caption says, with their class_name."""
    rule = settings["class_rule"]
    if rule == "none":
        noun = pl.col("noun") if "noun" in rows.columns else pl.lit(None, pl.String)
        rows = rows.with_columns(class_name=noun)
        return _drop(funnel, "detect", rows, [None] * len(rows))
    names = class_names(*(paths["detections"] for paths in parts.values()))
    caption_classes = Nouns(nouns_csv, names) if rule == "caption_noun" else lambda _: None
    detected = _confident(rows, parts, settings["confidence"])
    found, reasons = [], []
    for classes, number, caption in zip(detected, rows["number"], rows["caption"], strict=True):
        matched = None
        if classes is not None:
            matched = match(classes, number, rule, caption_classes(caption))
        found.append(matched)
        reasons.append(_mismatch(classes, number, rule) if matched is None else None)
    matched_names = pl.Series("class_name", [names.get(cls) for cls in found], pl.String)
    return _drop(funnel, "detect", rows.with_columns(matched_names), reasons)


def _mismatch(classes: list[int] | None, number: int, rule: Rule) -> str:
    if classes is None:
        return "unreadable"
    if not classes:
        return "no_object"
    if rule == "caption_noun" and number in Counter(classes).values():
        return "not_named"
    return "another_number"


def _confident(
    rows: pl.DataFrame, parts: dict[str, dict[str, str]], confidence: float
) -> list[list[int] | None]:
    """The classes of each row's confident detections; None if its image could not be read."""
    detections = pl.concat(
        pl.read_parquet(paths["detections"], columns=["key", "class_id", "score"]).with_columns(
            part=pl.lit(part)
        )
        for part, paths in sorted(parts.items())
    )
    rows = rows.select("part", "key").join(
        detections, on=["part", "key"], how="left", maintain_order="left"
    )
    return [
        None if ids is None else [i for i, s in zip(ids, scores, strict=True) if s >= confidence]
        for ids, scores in zip(rows["class_id"], rows["score"], strict=True)
    ]


def _drop(funnel: Funnel, step: str, rows: pl.DataFrame, reasons: list[str | None]) -> pl.DataFrame:
    """Drop the rows that have a reason; record the reasons in the funnel."""
    lost = Counter(reason for reason in reasons if reason is not None)
    left = rows.filter(pl.Series([reason is None for reason in reasons], dtype=pl.Boolean))
    funnel.step(step, len(left), dict(sorted(lost.items())))
    return left


def _failures(rows: pl.DataFrame) -> list[str | None]:
    return [None if status == "ok" else status for status in rows["status"]]


def _duplicates(rows: pl.DataFrame, counting: pl.DataFrame | None = None) -> list[str | None]:
    """Reason why each row duplicates an earlier one or one of `counting`, or None."""
    images = set() if counting is None else set(counting["sha256"])
    counting_images, pairs, reasons = frozenset(images), set(), []
    for url, caption, image in rows.select("url", "caption", "sha256").iter_rows():
        pair = (_address(url), _words(caption))
        if image in counting_images:
            reasons.append("image_of_counting_set")
        elif pair in pairs:
            reasons.append("same_pair")
        elif image in images:
            reasons.append("same_image")
        else:
            reasons.append(None)
        pairs.add(pair)
        images.add(image)
    return reasons


def benchmark_pairs(
    rows: pl.DataFrame, benchmark: pl.DataFrame, settings: dict[str, Any]
) -> list[str | None]:
    """Reason why each row is a duplicate of a benchmark's (url, caption or phash), or None.

    benchmark: of `benchmark_rows`. settings: decontaminate and phash_distance, as in `assemble`.
    """
    criteria = settings["decontaminate"]
    listed = benchmark["url"].drop_nulls() if "url" in criteria else ()
    urls = {_address(url) for url in listed}
    texts = benchmark["caption"].drop_nulls() if "caption" in criteria else ()
    captions = {_words(text) for text in texts}
    hashes = benchmark["phash"].drop_nulls().to_list() if "phash" in criteria else []
    near = is_near(rows["phash"].to_list(), hashes, settings["phash_distance"])
    return [
        "url" if _address(url) in urls
        else "caption" if _words(caption) in captions
        else "phash" if has_near_image else None
        for url, caption, has_near_image in zip(rows["url"], rows["caption"], near, strict=True)
    ]  # fmt: skip


def _address(url: str) -> str:
    """An address without the parts that rarely change the image behind it.

    These are the scheme, the case of the host, its default port, escapes, the fragment and a final
    slash.
    """
    rest = re.sub(r"^(?:[a-z][a-z0-9+.-]*:)?//", "", url.strip(), flags=re.IGNORECASE)
    host, _, path = rest.partition("#")[0].partition("/")
    host = re.sub(r":(?:80|443)?$", "", host.casefold())
    return f"{host}/{unquote(path)}".rstrip("/")


def _words(caption: str) -> str:
    return " ".join(caption.casefold().split())


def _hashed(funnel: Funnel, rows: pl.DataFrame, parts: dict[str, dict[str, str]]) -> pl.DataFrame:
    """The rows whose image can be decoded, with its perceptual hash (16 hex digits)."""
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
    reasons = [None if phash else "unreadable" for phash in column]
    return _drop(funnel, "read", rows, reasons)


def _typed(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return rows.select(schema.names).sort("part", "key").to_arrow().cast(schema)


def _frequency(
    candidates: pl.DataFrame, downloaded: pl.DataFrame, matched: pl.DataFrame, pairs: pl.DataFrame
) -> pl.DataFrame:
    """Pairs after the main steps, a line for each number of two to ten."""
    columns = {
        "candidates": candidates,
        "downloaded": downloaded,
        "matched": matched,
        "train": pairs.filter(pl.col("split") == "train"),
        "heldout": pairs.filter(pl.col("split") == "heldout"),
    }
    counts = {name: Counter(frame["number"].to_list()) for name, frame in columns.items()}
    numbers = number_words.NUMBERS
    return pl.DataFrame(
        {"number": numbers, "word": [number_words.WORDS[n] for n in numbers]}
        | {name: [count[n] for n in numbers] for name, count in counts.items()}
    )
