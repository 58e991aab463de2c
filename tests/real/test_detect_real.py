"""The real YOLOv8n on 69 real photos: the Detector finds what ultralytics finds, box for box."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from countclip import detect

pytest.importorskip("openvino", reason="the real detector is an OpenVINO model")


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    return shared / "detector/yolov8n_int8_openvino_model"


@pytest.fixture(scope="module")
def photos(shared: Path) -> dict[str, Image.Image]:
    with open(shared / "photos/annotations.csv", encoding="utf-8", newline="") as file:
        files = [row["file"] for row in csv.DictReader(file)]
    return {name: Image.open(next((shared / "photos").rglob(Path(name).name))) for name in files}


def test_equal_to_ultralytics_box_for_box(weights: Path, photos: dict[str, Image.Image]) -> None:
    detector = detect.Detector(
        weights, image_size=640, confidence_floor=0.1, iou=0.7, max_detections=300
    )
    assert detector.names[0] == "person"
    assert len(detector.names) == 80
    images = list(photos.values())
    ours = [found for i in range(0, 69, 8) for found in detector(images[i : i + 8])]
    model = detect.ultralytics().YOLO(weights, task="detect", verbose=False)
    boxes = 0
    for name, image, found in zip(photos, images, ours, strict=True):
        direct = model.predict(image, verbose=False)[0].boxes.data.numpy()  # all its defaults
        kept = [i for i, score in enumerate(found.score) if score >= 0.25]
        rows = [[*found.box[i], found.score[i], found.class_id[i]] for i in kept]
        assert np.array_equal(np.array(rows, np.float32).reshape(-1, 6), direct), name
        boxes += len(direct)
    assert (len(images), boxes > 200) == (69, True)


def test_colours_reach_the_detector_in_the_right_order(
    weights: Path, photos: dict[str, Image.Image], shared: Path
) -> None:
    """A photo from its file and from memory gives the same boxes; with red for blue it does not."""
    detector = detect.Detector(
        weights, image_size=640, confidence_floor=0.25, iou=0.7, max_detections=300
    )
    image = next(iter(photos.values())).convert("RGB")
    model = detect.ultralytics().YOLO(weights, task="detect", verbose=False)
    from_file = model.predict(next(iter(photos.values())).filename, verbose=False)[0].boxes
    assert detector([image])[0].score == from_file.conf.tolist()
    assert detector([Image.merge("RGB", image.split()[::-1])])[0].score != from_file.conf.tolist()


def test_counts_are_those_of_the_photos_now_and_then(
    weights: Path, photos: dict[str, Image.Image], shared: Path
) -> None:
    """Exact counts where the truth is 2 to 10: some, and far from all, as the paper found."""
    detector = detect.Detector(
        weights, image_size=640, confidence_floor=0.25, iou=0.7, max_detections=300
    )
    with open(shared / "photos/annotations.csv", encoding="utf-8", newline="") as file:
        truth = {row["file"]: json.loads(row["counts"]) for row in csv.DictReader(file)}
    right = total = 0
    for name, image in photos.items():
        found = detector([image])[0].class_id
        classes = [detector.names[i] for i in found]
        for cls, count in truth[name].items():
            if 2 <= count <= 10:
                right += classes.count(cls) == count
                total += 1
    assert 0.15 < right / total < 0.75
