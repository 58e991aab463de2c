"""Training of the miniature's detector: ultralytics trains a narrow YOLOv8 on drawn scenes.

This is done once; the result is committed beside its recipe. Nothing is downloaded.
"""

import logging
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml

from countclip.data.detector import Detector
from countclip.data.detector_backends import publish_onnx, ultralytics
from countclip.runtime.files import progress, sha256, with_digest, write_json
from miniature.scenes import CLASSES, SIZE, Scene, draw, make

log = logging.getLogger(__name__)

NARROW = [0.33, 0.125, 512]  # depth, width, most channels: half the width of YOLOv8n
ARGUMENTS = {
    "imgsz": SIZE,
    "device": "cpu",
    # Objects have one size and do not overlap; mosaic and scaling would change that.
    "mosaic": 0.0,
    "scale": 0.05,
    "translate": 0.05,
    "hsv_h": 0.005,
    "hsv_s": 0.2,
    "hsv_v": 0.15,
    "fliplr": 0.5,
    "optimizer": "AdamW",
    "cos_lr": True,
    "lrf": 0.01,
    "warmup_epochs": 1.0,
    # Ultralytics uses the internet for half precision, plots and pretrained weights.
    "amp": False,
    "plots": False,
    "pretrained": False,
}


def recipe(
    *, seed: int, scenes: int, epochs: int, batch: int, learning_rate: float
) -> dict[str, Any]:
    """The recipe of the weights, with its digest: the scenes, the network, the arguments.

    scenes: number of training scenes, each seen once an epoch. learning_rate: the highest.
    """
    sample = [_training_scene(index) for index in range(100)]
    settings = {
        "scenes": scenes,
        "sample": sha256(repr(sample).encode()),
        "network": NARROW,
        "arguments": {
            **ARGUMENTS,
            "seed": seed,
            "epochs": epochs,
            "patience": epochs,
            "batch": batch,
            "nbs": batch,
            "lr0": learning_rate,
        },
    }
    return with_digest(settings)


def train(
    onnx: str | Path, recipe_json: str | Path, *, threads: int, test_scenes: int, **settings: Any
) -> None:
    """Train from random weights, export to `onnx`, and write the recipe with the accuracy.

    settings: see `recipe`. test_scenes: number of unseen scenes to measure on.
    """
    import torch

    used = recipe(**settings)
    library = ultralytics()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="countclip-detector-") as folder:
        data = _write_data(Path(folder), settings["scenes"])
        model = library.YOLO(_write_architecture(Path(folder), library), task="detect")
        # Ultralytics would download a font for plots that are not drawn.
        with patch.object(library.data.utils, "check_font"):
            model.train(
                data=data, project=folder, name="run", val=False, workers=0, **used["arguments"]
            )
        last = library.YOLO(f"{folder}/run/weights/last.pt")
        exported = last.export(format="onnx", imgsz=SIZE, dynamic=True)
        publish_onnx(exported, onnx)
    counts = exact_counts(onnx, test_scenes, threads)
    write_json({"recipe": used, "sha256": sha256(onnx), "exact_counts": counts}, recipe_json)
    log.info("exact counts on unseen scenes: %s", counts)


def exact_counts(onnx: str | Path, n: int, threads: int = 1) -> dict[str, Any]:
    """Share of `n` unseen scenes whose most frequent class and its count are right.

    This is how the counting set is matched. The share is of all scenes and by number.
    """
    detector = Detector(
        onnx, image_size=SIZE, confidence_floor=0.25, iou=0.7, max_detections=300, threads=threads
    )
    right: Counter[int] = Counter()
    total: Counter[int] = Counter()
    for index in progress(range(n), unit="scene", desc="measure"):
        scene = make("detector_test", index, 2 + index % 9)
        found = Counter(detector([detector.prepare(draw(scene))])[0].class_id).most_common(1)
        total[scene.number] += 1
        right[scene.number] += found == [(CLASSES.index(scene.name), scene.number)]
    by_number = {str(k): round(right[k] / total[k], 4) for k in sorted(total)}
    return {"share": round(right.total() / n, 4), "n": n, "by_number": by_number}


def _write_architecture(folder: Path, library: Any) -> str:
    source = Path(library.__file__).parent / "cfg/models/v8/yolov8.yaml"
    layers = yaml.safe_load(source.read_text(encoding="utf-8"))
    path = folder / "yolov8n-narrow.yaml"
    path.write_text(yaml.safe_dump({**layers, "nc": len(CLASSES), "scales": {"n": NARROW}}))
    return str(path)


def _write_data(folder: Path, n: int) -> str:
    """Write images and labels as ultralytics reads them; return the data file's path."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for index in progress(range(n), unit="scene", desc="draw"):
        scene = _training_scene(index)
        draw(scene).save(folder / "images" / f"{index:06}.png", compress_level=1)
        (folder / "labels" / f"{index:06}.txt").write_text(_labels(scene))
    # Ultralytics requires validation images; the accuracy is measured on unseen ones.
    (folder / "val.txt").write_text("".join(f"./images/{index:06}.png\n" for index in range(64)))
    data = {"path": str(folder), "train": "images", "val": "val.txt", "names": list(CLASSES)}
    (folder / "data.yaml").write_text(yaml.safe_dump(data))
    return str(folder / "data.yaml")


def _training_scene(index: int) -> Scene:
    return make("detector", index, 1 + index % 12)


def _labels(scene: Scene) -> str:
    """A line an object: class, centre x and y, width, height (shares of the image)."""
    low, high = scene.boxes[:, :2], scene.boxes[:, 2:]
    shares = np.hstack([(low + high) / 2, high - low]) / SIZE
    rows = zip(scene.labels, shares, strict=True)
    return "".join(f"{label} {' '.join(f'{s:.6f}' for s in share)}\n" for label, share in rows)
