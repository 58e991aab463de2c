"""Sources: pairs whose boxes are sure and apart enough for images to be composed from them."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from PIL import Image

from countclip.data import image_edits
from countclip.data.counting_set import shuffled
from countclip.data.detections import class_names
from countclip.data.image_edits import EditSettings, Refused
from countclip.data.number_words import NUMBERS, find

OPERATIONS = ("erase", "paste", "paste_others", "crop")
LONGEST = 1280
"""Pixels of the longer side of a composed image, at most: twice what a detector looks at."""
SAME_OBJECT = 0.5
"""Share of the smaller box from which two boxes of a class are taken for one object."""


@dataclass(frozen=True)
class ComposeSettings:
    """Settings of a composed set: the config's section `compose`, and `per_number`.

    per_number: training pairs of each number to reach, of two to ten. operations: of OPERATIONS.
    captions: `new`, with the number that the image shows then; `old`, unchanged, as a control.
    per_source: most composed images of one source. most_changed: most objects more or fewer.
    min_side: least shorter side in pixels, and max_area: greatest share of the image, of a box that
        is erased or copied. max_overlap: greatest share of the smaller of two boxes of the class
        that they may share.
    edit: settings of the edits themselves.
    """

    per_number: tuple[int, ...]
    operations: tuple[str, ...]
    captions: str
    per_source: int
    most_changed: int
    min_side: float
    max_area: float
    max_overlap: float
    edit: EditSettings
    seed: int

    @classmethod
    def of(cls, per_number: int | list[int], **settings: Any) -> "ComposeSettings":
        """The settings from the keys of the config; ValueError for one that means nothing."""
        numbers = [per_number] * len(NUMBERS) if isinstance(per_number, int) else per_number
        operations = tuple(settings.pop("operations"))
        if unknown := sorted(set(operations) - set(OPERATIONS)):
            raise ValueError(f"compose.operations: {unknown} are none of {', '.join(OPERATIONS)}")
        edit = EditSettings(**{key: settings.pop(key) for key in EditSettings.__dataclass_fields__})
        return cls(tuple(numbers), operations, edit=edit, **settings)


@dataclass(frozen=True)
class Source:
    """A pair that images are composed from, or control images made of.

    boxes: of the objects counted, float (number, 4). others: of other sure detections, and their
    classes. all_boxes: of all detections, unsure ones too.
    """

    row: dict[str, Any]
    boxes: np.ndarray
    others: np.ndarray
    other_classes: np.ndarray
    all_boxes: np.ndarray

    @property
    def number(self) -> int:
        return self.row["number"]

    def other_class(
        self, size: tuple[int, int], rng: np.random.Generator, settings: ComposeSettings
    ) -> tuple[np.ndarray, int]:
        """Another class whose objects can be edited: which of `others` are its, bool (others,), and
        how many more there can be, so that it has no more than the one counted. Refused where
        there is none; size: height and width of the image."""
        counts = Counter(self.other_classes.tolist())
        room = {one: self.number - n for one, n in counts.items() if n < self.number}
        if not room:
            raise Refused("no_other_class")
        chosen = sorted(room)[rng.integers(len(room))]
        is_chosen = self.other_classes == chosen
        _refuse_sizes(self.others[is_chosen], size, settings)
        return is_chosen, room[chosen]


def read_sources(
    pairs: pl.DataFrame,
    detections: dict[str, str],
    images: dict[str, str],
    confidence: float,
    settings: ComposeSettings,
) -> tuple[list[Source], Counter[str]]:
    """The pairs that images may be composed from, in a random order; the others by reason.

    detections, images: part -> path. confidence: lowest score of a detection that is counted.
    """
    found = {
        part: {row["key"]: row for row in pq.read_table(path).to_pylist()}
        for part, path in detections.items()
    }
    ids = {name: one for one, name in class_names(*detections.values()).items()}
    sizes = {
        (part, row["key"]): (row["height"], row["width"])
        for part, path in images.items()
        for row in pq.read_table(path, columns=["key", "height", "width"]).to_pylist()
    }
    sources, lost = [], Counter()
    rows = pairs.to_dicts()
    for place in shuffled([row["sha256"] for row in rows], settings.seed):
        row = rows[place]
        try:
            sources.append(
                _source(
                    row,
                    found[row["part"]][row["key"]],
                    ids,
                    sizes[row["part"], row["key"]],
                    confidence,
                    settings,
                )
            )
        except Refused as error:
            lost[str(error)] += 1
    return sources, lost


def _source(
    row: dict[str, Any],
    detected: dict[str, Any],
    ids: dict[str, int],
    size: tuple[int, int],
    confidence: float,
    settings: ComposeSettings,
) -> Source:
    """A pair as a source; Refused with the reason why it is none.

    size: height and width of its image.
    """
    if len(find(row["caption"])) != 1:
        raise Refused("several_numbers")
    boxes = np.array(detected["box"], float).reshape(-1, 4)
    classes, scores = np.array(detected["class_id"]), np.array(detected["score"])
    is_sure, is_counted = scores >= confidence, classes == ids[row["class_name"]]
    counted, others = boxes[is_sure & is_counted], boxes[is_sure & ~is_counted]
    if len(counted) != row["number"]:
        raise Refused("another_number")
    between = image_edits.overlaps(counted, counted)
    if (between - np.eye(len(counted)) > settings.max_overlap).any():
        raise Refused("overlapping")
    # An unsure box that is of no sure one may be an object more than the caption says.
    unsure = boxes[~is_sure & is_counted]
    if (image_edits.overlaps(unsure, counted).max(axis=1, initial=0) < SAME_OBJECT).any():
        raise Refused("unsure_box")
    _refuse_sizes(counted, size, settings)
    return Source(row, counted, others, classes[is_sure & ~is_counted], boxes)


def _refuse_sizes(boxes: np.ndarray, size: tuple[int, int], settings: ComposeSettings) -> None:
    if (boxes[:, 2:] - boxes[:, :2]).min() < settings.min_side:
        raise Refused("small_box")
    if image_edits.areas(boxes).max() > settings.max_area * size[0] * size[1]:
        raise Refused("large_box")


def shrunk(image: Image.Image, source: Source) -> tuple[np.ndarray, Source]:
    """An image whose longer side is at most LONGEST, and its source in the pixels of that."""
    scale = LONGEST / max(image.size)
    if scale >= 1:
        return np.asarray(image), source
    size = [max(1, round(scale * side)) for side in image.size]
    boxes = {name: scale * getattr(source, name) for name in ("boxes", "others", "all_boxes")}
    pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    return pixels, dataclasses.replace(source, **boxes)
