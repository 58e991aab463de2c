"""The rules that make the miniature's three pretrained models, with next to no training."""

import json

from countclip.data.detector import Detector
from countclip.model.clip import Clip
from countclip.runtime.files import sha256
from miniature.scenes import CLASSES

from .conftest import HOME, Workflow


def test_all_models_come_from_rules_of_their_own(tmp_path):
    workflow = Workflow(tmp_path)
    made = "results/miniature_models"
    workflow(
        f"{made}/detector/recipe.json",
        f"{made}/clip/recipe.json",
        f"{made}/reading_clip/recipe.json",
        miniature_detector={"scenes": 64, "epochs": 1, "test_scenes": 9},
        miniature_clip={"pairs": 64, "steps": 2, "evaluations": 1, "test_scenes": 9},
        miniature_reading_clip={"pairs": 64, "steps": 2, "evaluations": 1, "test_words": 2},
    )
    folder = tmp_path / made
    detector = Detector(
        folder / "detector/yolov8.onnx",
        image_size=128, confidence_floor=0.1, iou=0.7, max_detections=300,
    )  # fmt: skip
    assert tuple(detector.names.values()) == CLASSES
    weights = {
        "clip": folder / "clip/miniature-vit.safetensors",
        "reading_clip": folder / "reading_clip/reading-vit.safetensors",
    }
    for file in weights.values():
        Clip(file.stem, str(file), str(file.with_suffix(".json")))
    for name, file in {"detector": folder / "detector/yolov8.onnx", **weights}.items():
        about = json.loads((folder / name / "recipe.json").read_text(encoding="utf-8"))
        assert about["sha256"] == sha256(file)
        committed = HOME / "resources/miniature" / name / "recipe.json"
        theirs = json.loads(committed.read_text(encoding="utf-8"))
        assert about["recipe"]["digest"] != theirs["recipe"]["digest"]
