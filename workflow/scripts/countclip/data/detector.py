"""Detection of objects in images, with YOLOv8.

Detections are stored down to a low score. So the threshold and the rule that count objects can
change without running the detector again.
"""

import json
import logging
import math
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from countclip.data.detector_backends import Network, load, verified_digest
from countclip.data.images import Unusable, decode
from countclip.data.shards import read_images
from countclip.runtime.files import progress, write_table
from countclip.runtime.files import sha256 as digest_of
from countclip.runtime.gpus import claim_gpu

log = logging.getLogger(__name__)

DETECTIONS = pa.schema(
    {
        "key": pa.string(),
        "class_id": pa.list_(pa.int16()),  # null: the image could not be read
        "score": pa.list_(pa.float32()),  # falling
        "box": pa.list_(pa.list_(pa.float32(), 4)),  # x1, y1, x2, y2 in pixels of the image
    }
)
BLOCK = 2048  # images between two checkpoints of a job
OVERLAP = 0.2  # of a tile's side, which its neighbour sees too
EDGE = 0.01  # of a tile's side; a box so near to where the tile is cut is of a part of an object
MARGIN = 0.04  # of a score; bf16 changes those of YOLOv8n by 0.006 on average, a few by much more


class Detection(NamedTuple):
    """Objects of one image by descending score; boxes are x1, y1, x2, y2 in pixels."""

    class_id: list[int]
    score: list[float]
    box: list[list[float]]


class Prepared(NamedTuple):
    """An image prepared for a detector, and its original height and width.

    place: where it begins in the image that it is cut from, x and y. tiles: parts of it, each
        prepared too.
    """

    pixels: np.ndarray  # uint8 (height, width, 3), RGB, resized and padded
    size: tuple[int, int]
    place: tuple[int, int] = (0, 0)
    tiles: tuple["Prepared", ...] = ()


class Detector:
    """A YOLO detector: images in, detections out, with any backend (detector_backends.py).

    sha256: the required digest of the weights; a .pt file is not read without it.
    device: `cpu`, or a GPU as torch names it. precision, threads: see `detector_backends.load`.
    exact_near: a score, or None. Images whose count depends on scores close to it are detected
        again in f32, so that a coarser `precision` miscounts few of them.
    tiles: 1, or n for n x n overlapping tiles that are looked at beside the whole image; small
        objects are larger in them.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        image_size: int,
        confidence_floor: float,
        iou: float,
        max_detections: int,
        sha256: str | None = None,
        precision: str = "f32",
        exact_near: float | None = None,
        tiles: int = 1,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        self.digest = verified_digest(weights, sha256)
        self._network = load(weights, device=device, precision=precision, threads=threads)
        self._near, self._exact = exact_near, None
        if exact_near is not None and precision != "f32":
            self._exact = load(weights, device=device, precision="f32", threads=threads)
        if self._network.square not in (None, image_size):
            raise ValueError(
                f"detector.image_size is {image_size}, but {weights} only takes "
                f"{self._network.square}; set it so, or export the weights with dynamic=True"
            )
        from ultralytics.data.augment import LetterBox

        # Without padding to a square, if the weights allow it: a quarter less to compute.
        self._fit = LetterBox(image_size, auto=self._network.square is None, stride=32)
        self._floor, self._iou, self._most = confidence_floor, iou, max_detections
        self._tiles = tiles
        self.names = self._network.names

    def prepare(self, image: Image.Image) -> Prepared:
        """Prepare an image (RGB) for the network; threads may call this ahead of the detector."""
        pixels = np.asarray(image)
        tiles = tuple(
            self._prepared(pixels[y0:y1, x0:x1], (x0, y0))
            for x0, y0, x1, y1 in tiles_of(image.width, image.height, self._tiles)
        )
        return self._prepared(pixels, (0, 0))._replace(tiles=tiles)

    def _prepared(self, pixels: np.ndarray, place: tuple[int, int]) -> Prepared:
        fitted = self._fit(image=np.ascontiguousarray(pixels))
        return Prepared(fitted, pixels.shape[:2], place)

    def __call__(self, images: list[Prepared]) -> list[Detection]:
        """The detections of each image."""
        found = self._run(self._network, images)
        if self._exact:
            unsure = [i for i, each in enumerate(found) if is_unsure(each, self._near)]
            again = self._run(self._exact, [images[i] for i in unsure])
            for i, each in zip(unsure, again, strict=True):
                found[i] = each
        return found

    def at(self, images: list[Prepared], ious: list[float]) -> list[list[Detection]]:
        """The detections of each image at each of some IoUs, from one run of the network."""
        return self._run_at(self._network, images, ious)

    def _run(self, network: Network, images: list[Prepared]) -> list[Detection]:
        return [found for (found,) in self._run_at(network, images, [self._iou])]

    def _run_at(
        self, network: Network, images: list[Prepared], ious: list[float]
    ) -> list[list[Detection]]:
        views = [view for image in images for view in (image, *image.tiles)]
        size = len(images)  # of a batch, so that tiles need no more memory
        chunks = (views[start : start + size] for start in range(0, len(views), size or 1))
        raw = (
            pair
            for chunk in chunks
            for pair in zip(network([view.pixels for view in chunk]), chunk, strict=True)
        )
        found = []
        for image in images:
            parts = [next(raw) for _ in (image, *image.tiles)]
            found.append([self._merged(image, parts, iou) for iou in ious])
        return found

    def _merged(self, image: Prepared, parts: list[tuple[Any, Prepared]], iou: float) -> Detection:
        """The detections of an image and its tiles as one, in pixels of the image."""
        whole, *tiles = (self._detection(raw, view, iou) for raw, view in parts)
        if not tiles:
            return whole
        others = [
            uncut(found, view, image.size) for found, view in zip(tiles, image.tiles, strict=True)
        ]
        return without_doubles([whole, *others], iou, self._most)

    def _detection(self, raw: Any, image: Prepared, iou: float) -> Detection:
        from ultralytics.utils import nms, ops

        # Of a copy, as it writes into what it gets; without its time limit, which a machine that
        # sleeps would exceed.
        found = nms.non_max_suppression(
            raw.clone(), self._floor, iou, max_det=self._most, max_time_img=math.inf
        )[0].cpu()
        boxes = ops.scale_boxes(image.pixels.shape[:2], found[:, :4], image.size)
        return Detection(found[:, 5].int().tolist(), found[:, 4].tolist(), boxes.tolist())


def tiles_of(width: int, height: int, n: int) -> list[tuple[int, int, int, int]]:
    """n x n tiles that overlap by OVERLAP, as x1, y1, x2, y2; none for n = 1."""
    if n == 1:
        return []

    def spans(length: int) -> list[tuple[int, int]]:
        side = length / (n - (n - 1) * OVERLAP)
        starts = [round(i * (length - side) / (n - 1)) for i in range(n)]
        return [(start, min(length, start + max(1, round(side)))) for start in starts]

    return [(x0, y0, x1, y1) for y0, y1 in spans(height) for x0, x1 in spans(width)]


def uncut(found: Detection, tile: Prepared, size: tuple[int, int]) -> Detection:
    """Detections of a tile in pixels of its image, without those that its border may have cut.

    size: height and width of the image, at whose own border nothing is cut.
    """
    (height, width), (x0, y0) = tile.size, tile.place
    near_x, near_y = EDGE * width, EDGE * height
    kept: list[tuple[int, float, list[float]]] = []
    for class_id, score, (x1, y1, x2, y2) in zip(*found, strict=True):
        is_cut = (
            (x0 > 0 and x1 < near_x)
            or (y0 > 0 and y1 < near_y)
            or (x0 + width < size[1] and x2 > width - near_x)
            or (y0 + height < size[0] and y2 > height - near_y)
        )
        if not is_cut:
            kept.append((class_id, score, [x1 + x0, y1 + y0, x2 + x0, y2 + y0]))
    return Detection(*map(list, zip(*kept, strict=True))) if kept else Detection([], [], [])


def without_doubles(parts: list[Detection], iou: float, most: int) -> Detection:
    """Detections of several views as one; of two boxes of a class that overlap, the surer stays.

    iou: overlap above which they are of one object. most: detections that stay at most.
    """
    rows = [row for part in parts for row in zip(*part, strict=True)]
    rows.sort(key=lambda row: -row[1])  # stable: of equal scores the whole image's goes first
    if not rows:
        return Detection([], [], [])
    boxes = np.array([box for *_, box in rows])
    classes = np.array([class_id for class_id, *_ in rows])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    is_left = np.ones(len(rows), bool)
    for i in range(len(rows)):
        if not is_left[i]:
            continue
        later = np.flatnonzero(is_left & (classes == classes[i]))
        later = later[later > i]
        low = np.maximum(boxes[later, :2], boxes[i, :2])
        high = np.minimum(boxes[later, 2:], boxes[i, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        union = areas[later] + areas[i] - shared
        is_left[later[shared > iou * union]] = False
    return Detection(
        *map(list, zip(*(rows[i] for i in np.flatnonzero(is_left)[:most]), strict=True))
    )


def is_unsure(found: Detection, score: float) -> bool:
    """Whether a shift of the threshold `score` by MARGIN changes the highest count of a class."""

    def count(threshold: float) -> int:
        classes = (c for c, s in zip(found.class_id, found.score, strict=True) if s >= threshold)
        return max(Counter(classes).values(), default=0)

    return count(score - MARGIN) != count(score + MARGIN)


def detect_objects(
    *,
    candidates: str | Path,
    manifest: str | Path,
    detections: str | Path,
    weights: str | Path,
    sha256: str | None = None,
    image_size: int,
    confidence_floor: float,
    iou: float,
    max_detections: int,
    precision: str = "f32",
    exact_near: float | None = None,
    tiles: int = 1,
    batch: int,
    device: str = "cpu",
    state: str | Path,
    threads: int = 1,
) -> None:
    """Detect objects in every image of a manifest whose candidate names a number.

    batch: images in a batch of a GPU. device: `cpu`, a GPU as torch names it, or `auto` (gpus.py).
    threads: for detection on a CPU, and for decoding; they do not change the result.
    state: folder for finished blocks of images; a killed job continues after the last one.
    """
    settings = {
        "image_size": image_size,
        "confidence_floor": confidence_floor,
        "iou": iou,
        "max_detections": max_detections,
        "precision": precision,
        "exact_near": exact_near,
    }
    if tiles > 1:
        settings["tiles"] = tiles
    numbers = pq.read_table(candidates, columns=["number"])["number"].to_pylist()
    statuses = pq.read_table(manifest, columns=["key", "status"]).to_pylist()
    keys = [
        row["key"]
        for row, number in zip(statuses, numbers, strict=True)
        if row["status"] == "ok" and number is not None
    ]
    with claim_gpu(device) as claimed_device:
        detector = Detector(
            weights, sha256=sha256, device=claimed_device, threads=threads, **settings
        )
        kind = claimed_device.partition(":")[0]  # any of several GPUs gives the same result
        inputs = [digest_of(manifest), digest_of(candidates), detector.digest]
        recipe = json.dumps([*inputs, settings, kind, batch, BLOCK], sort_keys=True)
        folder = Path(state) / digest_of(recipe.encode())[:16]
        with progress(total=len(keys), unit="image", desc=f"detect {Path(manifest).stem}") as bar:
            for start in range(0, len(keys), BLOCK):
                block, path = keys[start : start + BLOCK], folder / f"{start:09d}.parquet"
                if not path.exists():
                    rows = detect_block(detector, manifest, block, batch, threads, bar)
                    write_table(pa.Table.from_pylist(rows, schema=DETECTIONS), path)
                bar.update(start + len(block) - bar.n)
    names = {str(number): name for number, name in sorted(detector.names.items())}
    metadata = {
        "weights_sha256": detector.digest,
        "class_names": json.dumps(names),
        "settings": json.dumps(settings, sort_keys=True),
    }
    blocks = [pq.read_table(path, schema=DETECTIONS) for path in sorted(folder.glob("*.parquet"))]
    write_table(pa.concat_tables([DETECTIONS.empty_table(), *blocks]), detections, metadata)
    shutil.rmtree(folder, ignore_errors=True)


def detect_block(
    detector: Detector,
    manifest: str | Path,
    keys: list[str],
    batch: int,
    threads: int,
    bar: Any,
) -> list[dict]:
    """A row of DETECTIONS for each key; threads decode images ahead of the network."""

    def prepared(image: tuple[str, bytes]) -> tuple[str, Prepared | None]:
        key, data = image
        try:
            return key, detector.prepare(decode(data))
        except Unusable as error:
            log.warning("%s, %s: unreadable: %s", manifest, key, error)
            return key, None

    rows = {key: {"key": key} for key in keys}
    images = _ahead(prepared, read_images(manifest, keys), threads, most=2 * batch)
    while chunk := list(islice(images, batch)):
        readable = {key: image for key, image in chunk if image is not None}
        for key, found in zip(readable, detector(list(readable.values())), strict=True):
            rows[key] |= found._asdict()
        bar.update(len(chunk))
    return list(rows.values())


def _ahead(work: Callable, items: Iterable, threads: int, most: int) -> Iterator:
    """Yield `work` of each item, in order; threads work up to `most` items ahead."""
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
