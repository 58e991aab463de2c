"""Which objects does an image show? YOLOv8 says so, run by ultralytics behind one small class.

Detections are kept down to a low score, so that the score and the rule by which objects are counted
can change without the detector running again.
"""

import functools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from countclip.files import progress, sha256, write_table
from countclip.pictures import Unusable, decode, read_images

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


class Detection(NamedTuple):
    """The objects of one image, by falling score; boxes are x1, y1, x2, y2 in pixels."""

    class_id: list[int]
    score: list[float]
    box: list[list[float]]


class Detector:
    """A YOLO detector: images in, detections out. Loads .onnx and OpenVINO folders (and .pt).

    The number of threads is fixed, since it may change the last bits of a score.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        image_size: int,
        confidence_floor: float,
        iou: float,
        max_detections: int,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        if not Path(weights).exists():
            raise FileNotFoundError(
                f"detector.weights: {weights} does not exist, and weights are never downloaded "
                "in passing. Name a .onnx file or an OpenVINO folder"
            )
        self.digest = digest(weights)
        with _threads(Path(weights), threads):
            self._model = ultralytics().YOLO(str(weights), task="detect", verbose=False)
            self._options = {
                "imgsz": image_size,
                "conf": confidence_floor,
                "iou": iou,
                "max_det": max_detections,
                "device": device,
                "rect": False,  # else the padding of an image would depend on its neighbours
                "verbose": False,
            }
            self([Image.new("RGB", (image_size, image_size))])  # the model loads at first use
        self.names: dict[int, str] = dict(self._model.names)

    def __call__(self, images: list[Image.Image]) -> list[Detection]:
        """The detections of each image (PIL, RGB); all of them go through as one batch."""
        found = []
        for result in self._model.predict(images, **self._options):
            boxes = result.boxes.cpu().numpy()
            classes = boxes.cls.astype(int).tolist()
            found.append(Detection(classes, boxes.conf.tolist(), boxes.xyxy.tolist()))
        return found


def digest(weights: str | Path) -> str:
    """sha256 of a weights file, or of the names and contents of a folder."""
    weights = Path(weights)
    if weights.is_file():
        return sha256(weights)
    files = sorted(path for path in weights.rglob("*") if path.is_file())
    listing = [[file.relative_to(weights).as_posix(), sha256(file)] for file in files]
    return sha256(json.dumps(listing).encode())


@functools.cache
def ultralytics() -> ModuleType:
    """The library, kept from installing, reporting, and reading or writing a user's settings."""
    folder = tempfile.mkdtemp(prefix="countclip-yolo-")
    os.environ.update(YOLO_CONFIG_DIR=folder, YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")
    import torchvision  # noqa: F401 ultralytics takes another NMS when it is not there yet
    import ultralytics

    ultralytics.settings.update({"sync": False})
    shutil.rmtree(folder, ignore_errors=True)
    logging.getLogger("ultralytics").addFilter(_no_time_limit)
    return ultralytics


def _no_time_limit(record: logging.LogRecord) -> bool:
    """On a busy machine ultralytics drops detections and only warns."""
    if "NMS time limit" in record.getMessage():
        raise RuntimeError(
            f"{record.getMessage()}: detections would be lost. Run again with less load, a smaller "
            "detector.batch or a higher detector.confidence_floor"
        )
    return True


@contextmanager
def _threads(weights: Path, threads: int) -> Iterator[None]:
    """While a model loads, give its runtime `threads`: ultralytics passes no such wish on."""
    import torch

    torch.set_num_threads(threads)
    limit = nullcontext()
    if weights.suffix == ".onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession
        limit = patch.object(
            onnxruntime, "InferenceSession", lambda path, _, **more: session(path, options, **more)
        )
    elif weights.is_dir():
        import openvino

        core = openvino.Core()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
        limit = patch.object(openvino, "Core", lambda: core)
    with limit:
        yield


def detect_objects(
    candidates: str | Path,
    manifest: str | Path,
    detections: str | Path,
    *,
    weights: str | Path,
    image_size: int,
    confidence_floor: float,
    iou: float,
    max_detections: int,
    batch: int,
    state: str | Path,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Detect objects in every image of a manifest whose candidate names a number.

    state: folder for finished blocks of images; a killed job goes on after the last of them.
    """
    settings = {
        "image_size": image_size,
        "confidence_floor": confidence_floor,
        "iou": iou,
        "max_detections": max_detections,
    }
    detector = Detector(weights, **settings, threads=threads, device=device)
    numbers = pq.read_table(candidates, columns=["number"])["number"].to_pylist()
    statuses = pq.read_table(manifest, columns=["key", "status"]).to_pylist()
    keys = [
        row["key"]
        for row, number in zip(statuses, numbers, strict=True)
        if row["status"] == "ok" and number is not None
    ]
    recipe = [sha256(manifest), sha256(candidates), detector.digest, settings, batch, BLOCK]
    folder = Path(state) / sha256(json.dumps(recipe, sort_keys=True).encode())[:16]
    with progress(total=len(keys), unit="image", desc=f"detect {Path(manifest).stem}") as bar:
        tables = []
        for start in range(0, len(keys), BLOCK):
            block, path = keys[start : start + BLOCK], folder / f"{start:09d}.parquet"
            if not path.exists():
                rows = _detect(detector, manifest, block, batch, bar)
                write_table(pa.Table.from_pylist(rows, schema=DETECTIONS), path)
            tables.append(pq.read_table(path, schema=DETECTIONS))
            bar.update(start + len(block) - bar.n)
    names = {str(number): name for number, name in sorted(detector.names.items())}
    about = {
        "weights_sha256": detector.digest,
        "class_names": json.dumps(names),
        "settings": json.dumps(settings, sort_keys=True),
    }
    write_table(pa.concat_tables([DETECTIONS.empty_table(), *tables]), detections, about)
    shutil.rmtree(folder, ignore_errors=True)


def _detect(
    detector: Detector, manifest: str | Path, keys: list[str], batch: int, bar: Any
) -> list[dict]:
    rows = {key: {"key": key} for key in keys}
    chunk: list[tuple[str, Image.Image]] = []
    for i, (key, data) in enumerate(read_images(manifest, keys), start=1):
        try:
            chunk.append((key, decode(data)))
        except Unusable as error:
            log.warning("%s, %s: unreadable: %s", manifest, key, error)
        if len(chunk) == batch or (i == len(keys) and chunk):
            for (name, _), found in zip(chunk, detector([im for _, im in chunk]), strict=True):
                rows[name] |= found._asdict()
            bar.update(len(chunk))
            chunk = []
    return list(rows.values())
