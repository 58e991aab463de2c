"""Detection of objects in images, with YOLOv8.

Detections are stored down to a low score. So the threshold and the rule that count objects can
change without running the detector again.
"""

import json
import logging
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
MARGIN = 0.04  # of a score; bf16 changes those of YOLOv8n by 0.006 on average, a few by much more


class Detection(NamedTuple):
    """Objects of one image by descending score; boxes are x1, y1, x2, y2 in pixels."""

    class_id: list[int]
    score: list[float]
    box: list[list[float]]


class Prepared(NamedTuple):
    """An image prepared for a detector, and its original height and width."""

    pixels: np.ndarray  # uint8 (height, width, 3), RGB, resized and padded
    size: tuple[int, int]


class Detector:
    """A YOLO detector: images in, detections out, with any backend (detector_backends.py).

    sha256: the required digest of the weights; a .pt file is not read without it.
    device: `cpu`, or a GPU as torch names it. precision, threads: see `detector_backends.load`.
    exact_near: a score, or None. Images whose count depends on scores close to it are detected
        again in f32, so that a coarser `precision` miscounts few of them.
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
        self.names = self._network.names

    def prepare(self, image: Image.Image) -> Prepared:
        """Prepare an image (RGB) for the network; threads may call this ahead of the detector."""
        return Prepared(self._fit(image=np.asarray(image)), (image.height, image.width))

    def __call__(self, images: list[Prepared]) -> list[Detection]:
        """The detections of each image."""
        found = self._run(self._network, images)
        if self._exact:
            unsure = [i for i, each in enumerate(found) if is_unsure(each, self._near)]
            again = self._run(self._exact, [images[i] for i in unsure])
            for i, each in zip(unsure, again, strict=True):
                found[i] = each
        return found

    def _run(self, network: Network, images: list[Prepared]) -> list[Detection]:
        raw = network([image.pixels for image in images])
        return [self._detection(each, image) for each, image in zip(raw, images, strict=True)]

    def _detection(self, raw: Any, image: Prepared) -> Detection:
        from ultralytics.utils import nms, ops

        found = nms.non_max_suppression(raw, self._floor, self._iou, max_det=self._most)[0].cpu()
        boxes = ops.scale_boxes(image.pixels.shape[:2], found[:, :4], image.size)
        return Detection(found[:, 5].int().tolist(), found[:, 4].tolist(), boxes.tolist())


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
