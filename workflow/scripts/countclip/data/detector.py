"""Which objects does an image show? YOLOv8 says so, behind one small class.

Detections are kept down to a low score, so that the score and the rule by which objects are counted
can change without the detector running again.
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
BLOCK = 2048  # images between two moments from which a killed job goes on
MARGIN = 0.04  # of a score; bf16 moves those of YOLOv8n by 0.006 on average, a few by much more


class Detection(NamedTuple):
    """The objects of one image, by falling score; boxes are x1, y1, x2, y2 in pixels."""

    class_id: list[int]
    score: list[float]
    box: list[list[float]]


class Prepared(NamedTuple):
    """An image as a detector takes it, and the height and width that it had."""

    pixels: np.ndarray  # uint8 (height, width, 3), RGB, resized and padded
    size: tuple[int, int]


class Detector:
    """A YOLO detector: images in, detections out, whatever runs its weights (detector_backends.py).

    sha256: the digest that the weights must have; without it no .pt file is read.
    device: `cpu`, or a GPU as torch names it. precision, threads: see `detector_backends.load`.
    exact_near: a score. Images whose count could change when scores near it move a little are
        looked at again in f32, so that a coarser `precision` miscounts few of them; None: never.
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
                f"detector.image_size is {image_size}, but {weights} takes {self._network.square} "
                "alone; set it so, or export the weights with dynamic=True"
            )
        from ultralytics.data.augment import LetterBox

        # As narrow as the picture allows where the weights do: a quarter less to compute.
        self._fit = LetterBox(image_size, auto=self._network.square is None, stride=32)
        self._floor, self._iou, self._most = confidence_floor, iou, max_detections
        self.names = self._network.names

    def prepare(self, image: Image.Image) -> Prepared:
        """An image (RGB) as the network takes it. Threads may do this ahead of the detector."""
        return Prepared(self._fit(image=np.asarray(image)), (image.height, image.width))

    def __call__(self, images: list[Prepared]) -> list[Detection]:
        """The detections of each image."""
        found = self._run(self._network, images)
        if self._exact:
            unsure = [i for i, one in enumerate(found) if is_unsure(one, self._near)]
            again = self._run(self._exact, [images[i] for i in unsure])
            for i, one in zip(unsure, again, strict=True):
                found[i] = one
        return found

    def _run(self, network: Network, images: list[Prepared]) -> list[Detection]:
        raw = network([image.pixels for image in images])
        return [self._detection(one, image) for one, image in zip(raw, images, strict=True)]

    def _detection(self, raw: Any, image: Prepared) -> Detection:
        from ultralytics.utils import nms, ops

        found = nms.non_max_suppression(raw, self._floor, self._iou, max_det=self._most)[0].cpu()
        boxes = ops.scale_boxes(image.pixels.shape[:2], found[:, :4], image.size)
        return Detection(found[:, 5].int().tolist(), found[:, 4].tolist(), boxes.tolist())


def is_unsure(found: Detection, score: float) -> bool:
    """Whether the objects of the most frequent class that reach `score` would be more or fewer if
    scores moved by MARGIN."""

    def most(least: float) -> int:
        reached = (c for c, s in zip(found.class_id, found.score, strict=True) if s >= least)
        return max(Counter(reached).values(), default=0)

    return most(score - MARGIN) != most(score + MARGIN)


def detect_objects(
    candidates: str | Path,
    manifest: str | Path,
    detections: str | Path,
    *,
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

    batch: images that a GPU works on together. device: `cpu`, a GPU as torch names it, or `auto`
        (gpus.py). threads: on a CPU; also those that decode images ahead. They change no result.
    state: folder for finished blocks of images; a killed job goes on after the last of them.
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
    with claim_gpu(device) as place:
        detector = Detector(weights, sha256=sha256, device=place, threads=threads, **settings)
        kind = place.partition(":")[0]  # which of several GPUs does not matter
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
    about = {
        "weights_sha256": detector.digest,
        "class_names": json.dumps(names),
        "settings": json.dumps(settings, sort_keys=True),
    }
    blocks = [pq.read_table(path, schema=DETECTIONS) for path in sorted(folder.glob("*.parquet"))]
    write_table(pa.concat_tables([DETECTIONS.empty_table(), *blocks]), detections, about)
    shutil.rmtree(folder, ignore_errors=True)


def detect_block(
    detector: Detector,
    manifest: str | Path,
    keys: list[str],
    batch: int,
    threads: int,
    bar: Any,
) -> list[dict]:
    """A row of DETECTIONS for each key; images are decoded while the network works on others."""

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
    """`work` of each item, in order; threads are up to `most` items ahead of who asks."""
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
