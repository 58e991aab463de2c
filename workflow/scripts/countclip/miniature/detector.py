"""Where does the miniature's detector come from? Ultralytics trains a narrow YOLOv8 on its scenes.

This is done once; the result is committed beside the digest of its recipe. Nothing is downloaded.
"""

import json
import logging
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import yaml

from countclip.files import progress, publish, sha256, write_json, write_text
from countclip.miniature.scenes import CLASSES, SIZE, Scene, draw, make

log = logging.getLogger(__name__)

NARROW = [0.33, 0.125, 512]  # depth, width, most channels: half the width of YOLOv8n
FIXED = {
    # Everything in a scene has one size and lies apart; mosaic and scaling would only blur that.
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
    # Ultralytics looks at the network for half precision, for plots and for ready weights.
    "amp": False,
    "plots": False,
    "pretrained": False,
}


def train(
    onnx: str | Path,
    about: str | Path,
    state: str | Path,
    *,
    threads: int,
    test_scenes: int,
    **settings: Any,
) -> None:
    """Train from random weights, export to `onnx`, write `about`: the recipe and what it achieved.

    settings: see `recipe`. test_scenes: unseen ones, to measure on.
    state: the folder that a killed training goes on from.
    """
    made_by = recipe(**settings)
    state = Path(state).resolve() / made_by["digest"][:16]
    state.mkdir(parents=True, exist_ok=True)
    yolo = ultralytics_yolo(state, threads)
    last, trained = state / "run/weights/last.pt", state / "trained"
    if not trained.exists():
        data = _write_data(state / "data", settings["scenes"])
        if last.exists():
            yolo(last).train(resume=True)
        else:
            model = yolo(_architecture(state), task="detect")
            arguments = {**made_by["arguments"], "cache": "ram", "workers": 0, "val": False}
            model.train(data=str(data), project=str(state), name="run", exist_ok=True, **arguments)
        trained.touch()
    exported = yolo(last).export(format="onnx", imgsz=SIZE, dynamic=True)
    measured = exact_counts(yolo(exported, task="detect"), test_scenes)
    with publish(onnx) as temporary:
        shutil.copyfile(exported, temporary)
    write_json({"recipe": made_by, "sha256": sha256(onnx), "exact_counts": measured}, about)
    log.info("exact counts on %d unseen scenes: %s", test_scenes, measured)
    shutil.rmtree(state)


def recipe(
    *, seed: int, scenes: int, epochs: int, batch: int, learning_rate: float
) -> dict[str, Any]:
    """All that the weights follow from, and its digest: the scenes, the network, the arguments.

    scenes: how many to train on, each seen once an epoch. learning_rate: the highest.
    """
    made_by = {
        "scenes": scenes,
        "looks": sha256(repr([[make("detector", i, 1 + i % 12) for i in range(100)]]).encode()),
        "network": NARROW,
        "arguments": {
            **FIXED,
            "seed": seed,
            "imgsz": SIZE,
            "epochs": epochs,
            "patience": epochs,
            "batch": batch,
            "nbs": batch,
            "lr0": learning_rate,
            "device": "cpu",
        },
    }
    return {**made_by, "digest": sha256(json.dumps(made_by, sort_keys=True).encode())}


def exact_counts(model: Any, n: int, confidence: float = 0.25, iou: float = 0.5) -> dict[str, Any]:
    """Share of `n` unseen scenes whose most frequent class and its count are right, as the counting
    set is matched; in all and by number."""
    right: Counter[int] = Counter()
    total: Counter[int] = Counter()
    for index in progress(range(n), unit="scene", desc="measure"):
        scene = make("detector_test", index, 2 + index % 9)
        result = model.predict(draw(scene), imgsz=SIZE, conf=confidence, iou=iou, verbose=False)[0]
        found = Counter(result.boxes.cls.int().tolist()).most_common(1)
        total[scene.number] += 1
        right[scene.number] += found == [(CLASSES.index(scene.name), scene.number)]
    by_number = {str(k): round(right[k] / total[k], 4) for k in sorted(total)}
    return {"share": round(right.total() / n, 4), "n": n, "by_number": by_number}


def ultralytics_yolo(state: Path, threads: int) -> Any:
    """Ultralytics' YOLO, cut off from the network, with a config folder of its own."""
    config = state / "config"
    (config / "Ultralytics").mkdir(parents=True, exist_ok=True)
    font = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    shutil.copyfile(font, config / "Ultralytics/Arial.ttf")  # else it fetches one
    os.environ.update(YOLO_CONFIG_DIR=str(config), YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import torch
    import ultralytics

    ultralytics.settings.update({"sync": False})
    torch.set_num_threads(threads)
    return ultralytics.YOLO


def _architecture(state: Path) -> Path:
    import ultralytics

    source = Path(ultralytics.__file__).parent / "cfg/models/v8/yolov8.yaml"
    layers = yaml.safe_load(source.read_text(encoding="utf-8"))
    path = state / "yolov8-miniature.yaml"
    write_text(yaml.safe_dump({**layers, "nc": len(CLASSES), "scales": {"n": NARROW}}), path)
    return path


def _write_data(folder: Path, n: int) -> Path:
    """Pictures and labels in the form that ultralytics reads; returns the data file."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in progress(range(n), unit="scene", desc="draw"):
        scene = make("detector", index, 1 + index % 12)
        draw(scene).save(folder / "images" / f"{index:06}.png", compress_level=1)
        write_text(_labels(scene), folder / "labels" / f"{index:06}.txt")
    # Ultralytics wants some pictures to validate on; what counts is measured apart, on unseen ones.
    write_text("".join(f"./images/{index:06}.png\n" for index in range(64)), folder / "val.txt")
    data = folder / "data.yaml"
    about = {"path": str(folder), "train": "images", "val": "val.txt", "names": list(CLASSES)}
    write_text(yaml.safe_dump(about), data)
    return data


def _labels(scene: Scene) -> str:
    """A line an object: class, centre x and y, width and height as shares of the picture."""
    low, high = scene.boxes[:, :2], scene.boxes[:, 2:]
    shares = np.hstack([(low + high) / 2, high - low]) / SIZE
    rows = zip(scene.labels, shares, strict=True)
    return "".join(f"{label} {' '.join(f'{s:.6f}' for s in share)}\n" for label, share in rows)
