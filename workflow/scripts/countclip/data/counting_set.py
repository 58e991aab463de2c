"""Which pairs teach counting? Those whose picture shows as many objects as their caption says.

The objects counted are those of one class (in the paper, the most frequent one). Pairs of the
benchmark and duplicates go, numbers with too many pairs are cut down, a part is held out, and a
funnel says where every row went.
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
import pyarrow.parquet as pq

from countclip.data import number_words
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
    classes: list[int], number: int, rule: Rule = "most_frequent", named: set[int] | None = None
) -> int | None:
    """The class of which exactly `number` objects were detected, or None; of several, the lowest.

    classes: one class id an object. `most_frequent`: it must be the class with most objects, or one
    of those with as many. `caption_noun`: it must be among `named`, the classes that the caption
    names. `any`: any class will do.
    """
    counts = Counter(classes)
    right = {cls for cls, count in counts.items() if count == number}
    if rule == "most_frequent":
        right = right if counts and max(counts.values()) == number else set()
    elif rule == "caption_noun":
        right &= named or set()
    elif rule != "any":
        raise ValueError(f"class_rule: {rule!r} counts nothing")
    return min(right, default=None)


def drawn(digests: list[str], seed: int) -> list[int]:
    """All rows in a random order that follows from `seed` and each image's digest alone.

    So whether a row is among the first hardly depends on which other rows there are.
    """
    ranks = [hashlib.sha256(f"{seed}:{digest}".encode()).digest() for digest in digests]
    return sorted(range(len(digests)), key=ranks.__getitem__)


def cap(
    numbers: list[int], digests: list[str], most: list[int] | None, seed: int
) -> list[str | None]:
    """`above_cap` for the pairs of each number beyond the `most` allowed, from two to ten.

    Undersampling against the imbalance of the numbers, as Paiss et al. did (CountCLIP, section
    2.3).
    """
    fates: list[str | None] = [None] * len(numbers)
    if most is not None:
        room = dict(zip(number_words.NUMBERS, most, strict=True))
        for row in drawn(digests, seed):
            room[numbers[row]] -= 1
            fates[row] = "above_cap" if room[numbers[row]] < 0 else None
    return fates


def hold_out(numbers: list[int], digests: list[str], fraction: float, seed: int) -> list[str]:
    """`train` or `heldout` for each pair, `fraction` of each number held out.

    At least one of a number that has two or more, and never all. Which ones depends on `seed` and
    the image's digest alone, so other pairs coming or going hardly move the rest.
    """
    rows_of = defaultdict(list)
    for row in drawn(digests, seed):
        rows_of[numbers[row]].append(row)
    split = ["train"] * len(numbers)
    for rows in rows_of.values():
        wanted = min(max(1, round(fraction * len(rows))), len(rows) - 1) if fraction > 0 else 0
        for row in rows[:wanted]:
            split[row] = "heldout"
    return split


def assemble(
    parts: dict[str, dict[str, str]],
    benchmark: str | Path,
    output: dict[str, str],
    nouns: str | Path | None = None,
    **settings: Any,
) -> None:
    """Make one counting set of all parts.

    parts: name -> paths of its candidates, counts, images (manifest) and, unless `class_rule` is
        none, detections.
    output: paths for counting, non_counting, class_frequency and summary.
    nouns: the table of `nouns.Nouns`, for `class_rule` caption_noun.
    settings: the config's section `counting_set`:
    class_rule: as in `match`, or none: every downloaded pair counts (Paiss et al.'s naive
        filtering).
    confidence: score from which a detection counts.
    max_per_number: as in `cap`.
    decontaminate: how a pair is known to be of the benchmark: url, caption, phash (up to
        `phash_distance` of 64 bits different, as between what is trained on and what is held out).
    heldout_fraction, seed: as in `hold_out`.
    non_counting_per_counting: so many non-counting pairs at most for each counting pair, or None.
    """
    if unknown := set(settings["decontaminate"]) - {"url", "caption", "phash"}:
        raise ValueError(f"counting_set.decontaminate: unknown {sorted(unknown)}")
    seed, distance = settings["seed"], settings["phash_distance"]
    rows = pl.concat([_read(name, paths) for name, paths in sorted(parts.items())])
    theirs = pl.read_parquet(benchmark, columns=["url", "caption", "phash"])

    funnel, candidates = _filtered(rows, parts, counting=True)
    downloaded = _keep(funnel, "download", candidates, _failures(candidates))
    matched = _matched(funnel, downloaded, parts, nouns, settings)
    kept = _keep(funnel, "duplicates", matched, _duplicates(matched))
    numbers, digests = kept["number"].to_list(), kept["sha256"].to_list()
    kept = _keep(funnel, "cap", kept, cap(numbers, digests, settings["max_per_number"], seed))
    kept = _hashed(funnel, kept, parts)
    kept = _keep(funnel, "benchmark", kept, _benchmark_pairs(kept, theirs, settings))
    numbers, digests = kept["number"].to_list(), kept["sha256"].to_list()
    split = hold_out(numbers, digests, settings["heldout_fraction"], seed)
    kept = kept.with_columns(pl.Series("split", split, pl.String))
    heldout = kept.filter(pl.col("split") == "heldout")["phash"].to_list()
    close = (
        is_near(kept["phash"].to_list(), heldout, distance) & (kept["split"] == "train").to_numpy()
    )
    kept = _keep(funnel, "split", kept, ["near_heldout" if c else None for c in close])

    other_funnel, others = _filtered(rows, parts, counting=False)
    others = _keep(other_funnel, "download", others, _failures(others))
    others = _keep(other_funnel, "duplicates", others, _duplicates(others, kept))
    wanted = settings["non_counting_per_counting"]
    order = drawn(others["sha256"].to_list(), seed)
    extra = set() if wanted is None else set(order[round(wanted * len(kept)) :])
    fates = ["not_sampled" if row in extra else None for row in range(len(others))]
    others = _keep(other_funnel, "sample", others, fates)
    others = _hashed(other_funnel, others, parts)
    others = _keep(other_funnel, "benchmark", others, _benchmark_pairs(others, theirs, settings))
    close = is_near(others["phash"].to_list(), heldout, distance)
    others = _keep(other_funnel, "split", others, ["near_heldout" if c else None for c in close])

    write_table(_typed(kept, COUNTING), output["counting"])
    write_table(_typed(others, NON_COUNTING), output["non_counting"])
    frequency = _frequency(candidates, downloaded, matched, kept)
    with publish(output["class_frequency"]) as temporary:
        frequency.write_csv(temporary)
    summary = {
        "settings": settings,
        "rows": funnel.steps[0]["rows"],
        "counting": funnel.steps,
        "non_counting": other_funnel.steps,
        "train": len(kept) - len(heldout),
        "heldout": len(heldout),
        "non_counting_pairs": len(others),
        "numbers": frequency.to_dicts(),
        "counted_classes": dict(sorted(Counter(kept["class_name"].drop_nulls()).items())),
    }
    write_json(summary, output["summary"])
    for step in funnel.steps:
        log.info("%(step)s: %(rows)d rows, %(kept)d kept, lost %(lost)s", step)
    if len(kept) == len(heldout):
        kept_by = ", ".join(f"{step['step']} {step['kept']}" for step in funnel.steps)
        raise RuntimeError(
            f"no pair is left to teach counting. Of {funnel.steps[0]['rows']} rows there were left "
            f"after each step: {kept_by}. Use more parts (laion.parts) or lower "
            "counting_set.confidence"
        )


def _read(part: str, paths: dict[str, str]) -> pl.DataFrame:
    """Candidates with what became of their download."""
    rows = pl.read_parquet(paths["candidates"])
    images = pl.read_parquet(paths["images"])
    if not rows["url"].equals(images["url"]):
        raise ValueError(f"{paths['images']} does not list the rows of {paths['candidates']}")
    return rows.with_columns(images.select("key", "status", "sha256"), part=pl.lit(part))


def _filtered(
    rows: pl.DataFrame, parts: dict[str, dict[str, str]], counting: bool
) -> tuple[Funnel, pl.DataFrame]:
    """The candidates of one kind, and their funnel, which begins with all rows of LAION."""
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
    nouns: str | Path | None,
    settings: dict[str, Any],
) -> pl.DataFrame:
    """The rows whose picture shows what the caption counts, with the name of its class."""
    rule = settings["class_rule"]
    if rule == "none":
        rows = rows.with_columns(class_name=pl.lit(None, pl.String))
        return _keep(funnel, "detect", rows, [None] * len(rows))
    names = _class_names(parts)
    named = Nouns(nouns, names) if rule == "caption_noun" else lambda _: None
    classes = _confident(rows, parts, settings["confidence"])
    found, fates = [], []
    for shown, number, caption in zip(classes, rows["number"], rows["caption"], strict=True):
        found.append(None if shown is None else match(shown, number, rule, named(caption)))
        fates.append(_mismatch(shown, number, rule) if found[-1] is None else None)
    class_names = pl.Series("class_name", [names.get(cls) for cls in found], pl.String)
    return _keep(funnel, "detect", rows.with_columns(class_names), fates)


def _mismatch(shown: list[int] | None, number: int, rule: Rule) -> str:
    if shown is None:
        return "unreadable"
    if not shown:
        return "no_object"
    if rule == "caption_noun" and number in Counter(shown).values():
        return "not_named"
    return "another_number"


def _confident(
    rows: pl.DataFrame, parts: dict[str, dict[str, str]], confidence: float
) -> list[list[int] | None]:
    """The classes of each row's objects; None where its image could not be read."""
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
    rows: pl.DataFrame, theirs: pl.DataFrame, settings: dict[str, Any]
) -> list[str | None]:
    """By what each row is known to be of the benchmark, if it is."""
    by = settings["decontaminate"]
    urls = {_address(url) for url in theirs["url"]} if "url" in by else set()
    texts = {_words(text) for text in theirs["caption"]} if "caption" in by else set()
    hashes = theirs["phash"].drop_nulls().to_list() if "phash" in by else []
    close = is_near(rows["phash"].to_list(), hashes, settings["phash_distance"])
    return [
        "url" if _address(url) in urls
        else "caption" if _words(caption) in texts
        else "phash" if alike else None
        for url, caption, alike in zip(rows["url"], rows["caption"], close, strict=True)
    ]  # fmt: skip


def _address(url: str) -> str:
    """An address without what mostly leads to the same picture: scheme, case of the host, its
    usual port, escapes, fragment, a slash at the end."""
    rest = re.sub(r"^(?:[a-z][a-z0-9+.-]*:)?//", "", url.strip(), flags=re.IGNORECASE)
    host, _, path = rest.partition("#")[0].partition("/")
    host = re.sub(r":(?:80|443)?$", "", host.casefold())
    return f"{host}/{unquote(path)}".rstrip("/")


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
    numbers = number_words.NUMBERS
    return pl.DataFrame(
        {"number": numbers, "word": [number_words.WORDS[n] for n in numbers]}
        | {name: [count[n] for n in numbers] for name, count in counts.items()}
    )
