"""Image-caption pairs of tar shards at a model's size, with the objects of their captions."""

import json
import logging
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from countclip.data import number_words
from countclip.data.images import SUFFIXES, Unusable, decode
from countclip.data.objects import Objects, Unit
from countclip.experiments.soft_labels.caption_sets import LARGEST_MEMBER, LONGEST
from countclip.model.inputs import pack_images
from countclip.runtime.files import progress, write_json, write_table, write_text
from countclip.runtime.folders import contents

log = logging.getLogger(__name__)

LARGEST_IMAGE = 64 << 20
"""Bytes of an image in a tar; a larger one is dropped."""


class Pair(NamedTuple):
    """A pair of a shard; `problem` says why it has no caption, or no image, if it lacks one.

    place: shard and key. image: its file; empty where images are not read.
    """

    place: str
    caption: str = ""
    image: bytes = b""
    problem: str = ""


def shards_of(folder: str | Path) -> list[Path]:
    """The tar shards of webdataset or img2dataset in a folder, sorted; ValueError for none."""
    listed = contents(folder)
    listed.log_passed(folder)
    shards = [file for file in listed.files if file.name.lower().endswith(".tar")]
    if not shards:
        raise ValueError(
            f"{folder}: holds no tar shards of image-caption pairs; img2dataset writes them with"
            " output_format: webdataset"
        )
    return shards


def read_pairs(shard: Path, with_images: bool) -> Iterator[Pair]:
    """The pairs of a shard in its order: members with one key lie together, as webdataset has them.

    The caption is the .txt, or else `caption` in the .json. ValueError for a damaged shard.
    """
    try:
        with tarfile.open(shard, "r|*") as tar:
            members = (member for member in tar if member.isfile())
            for key, group in groupby(members, lambda member: _key(member.name)[0]):
                yield _pair(tar, group, f"{shard.name}: {key}", with_images)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(f"{shard}: cannot be read: {error}. Get the file anew") from error


def _key(name: str) -> tuple[str, str]:
    """The key of a member, and what it is: its ending in lower case."""
    folder, slash, file = name.rpartition("/")
    stem, _, kind = file.partition(".")
    return folder + slash + stem, kind.lower()


def _pair(
    tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo], place: str, with_images: bool
) -> Pair:
    caption, image, problem = None, None, ""
    for member in members:
        kind = _key(member.name)[1]
        if f".{kind}" in SUFFIXES:
            if member.size > LARGEST_IMAGE:
                problem = "image_too_large"
            else:
                image = tar.extractfile(member).read() if with_images else b""
        elif kind == "txt" or (kind == "json" and caption is None):
            if member.size > LARGEST_MEMBER:
                problem = problem or "caption_too_large"
                continue
            text = tar.extractfile(member).read().decode(errors="replace")
            if kind == "json":
                try:
                    text = json.loads(text).get("caption")
                except (ValueError, AttributeError, RecursionError):
                    problem = problem or "damaged_json"
                    continue
            caption = text[:LONGEST] if isinstance(text, str) else caption
    if caption is None or not caption.strip():
        return Pair(place, problem=problem or "no_caption")
    if image is None:
        return Pair(place, problem=problem or "no_image")
    return Pair(place, caption, image)


def pack(
    folder: str | Path,
    *,
    size: int,
    unit: Unit,
    number: int | None,
    images_npy: str,
    pairs_parquet: str,
    summary_json: str,
) -> None:
    """Publish the images, uint8 (n, size, size, 3), and of each pair what pretraining reads.

    unit: of `Objects`. number: of the first pairs that are taken; None for all. The Parquet file
    has `index`, the image's place; `caption`; `number`, what the caption names, 0 for none; and
    `objects`. The JSON counts pairs, and those that were dropped by reason.
    """
    shards = shards_of(folder)
    captions, dropped = [], Counter()
    for shard in progress(shards, unit="shard", desc="captions"):
        for pair in read_pairs(shard, with_images=False):
            if len(captions) == number:
                break
            if pair.problem:
                dropped[pair.problem] += 1
            else:
                captions.append(pair.caption)
    unusable: dict[int, str] = {}
    pack_images(_decoded(shards, len(captions), unusable), len(captions), size, images_npy)
    dropped.update(unusable.values())
    index = np.array([i for i in range(len(captions)) if i not in unusable], np.int64)
    texts = [captions[i] for i in index]
    parser = Objects(unit)
    objects = [sorted(parser(text)) for text in progress(texts, unit="caption", desc="objects")]
    columns = {
        "index": index,
        "caption": texts,
        "number": _numbers(texts),
        "objects": objects,
    }
    if not texts:
        raise ValueError(f"{folder}: no usable pair; dropped: {dict(dropped)}. Name another folder")
    write_table(pd.DataFrame(columns), pairs_parquet)
    summary = {
        "pairs": len(texts),
        "dropped": dict(dropped),
        "without_objects": sum(not found for found in objects),
        "objects": len({name for found in objects for name in found}),
    }
    log.info("%s", summary)
    write_json(summary, summary_json)


def _decoded(shards: list[Path], n: int, unusable: dict[int, str]) -> Iterator[Image.Image]:
    """Yield the images of the first n pairs; of one that cannot be read a black one, and why."""
    place = 0
    for shard in shards:
        for pair in read_pairs(shard, with_images=True):
            if pair.problem:
                continue
            if place == n:
                return
            try:
                image = decode(pair.image)
            except Unusable as error:
                log.warning("%s: %s", pair.place, error)
                unusable[place], image = f"image_{error.status}", Image.new("RGB", (1, 1))
            place += 1
            yield image


def _numbers(captions: Sequence[str]) -> np.ndarray:
    """The number that labels each caption, 0 for none."""
    numbers = np.zeros(len(captions), np.int64)
    words = number_words.find_all(list(captions))
    chosen = number_words.label_all(words)
    numbers[words.row[chosen]] = words.number[chosen]
    return numbers


def count_classes(
    classes: Sequence[str], pairs_parquet: str, unit: Unit, classes_csv: str | Path
) -> None:
    """Write how many training captions name each class: `class`, `text`, `captions`, and `objects`
    of its name with | between them.

    A caption names a class if it has all objects of the class's name, as the parser finds them; a
    class in whose name the parser finds none is named by no caption.
    """
    parser = Objects(unit)
    wanted = [parser(f"a {text}") for text in classes]
    known = set().union(*wanted)
    rows: dict[str, set[int]] = defaultdict(set)
    for row, found in enumerate(pd.read_parquet(pairs_parquet, columns=["objects"])["objects"]):
        for name in known.intersection(found):
            rows[name].add(row)
    numbers = [
        len(set.intersection(*(rows[name] for name in names))) if names else 0 for names in wanted
    ]
    columns = {"class": range(len(classes)), "text": classes, "captions": numbers}
    table = pd.DataFrame(columns | {"objects": ["|".join(sorted(names)) for names in wanted]})
    write_text(table.to_csv(index=False, lineterminator="\n"), classes_csv)
