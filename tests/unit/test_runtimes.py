"""What runs the weights: each kind of file gives the same detections, within rounding."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from countclip.data import detector as data_detector
from countclip.data import detector_backends
from countclip.data.detector import Detector
from miniature import scenes

ONNX = Path(__file__).parents[2] / "resources/miniature/detector/yolov8.onnx"
SETTINGS = {"image_size": 128, "confidence_floor": 0.1, "iou": 0.7, "max_detections": 300}


@pytest.fixture(scope="module")
def torch_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLOv8n of random weights, wide awake: its scores lie around one half."""
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    model = detector_backends.ultralytics().YOLO("yolov8n.yaml", task="detect")
    for branch in model.model.model[-1].cv3:
        branch[-1].bias.data.zero_()
        branch[-1].weight.data.mul_(20)
    model.save(path)
    return path


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    drawn = [scenes.draw(scenes.make("detector_test", i, 3)) for i in range(4)]
    return [image.resize((128, 128 - 32 * (i % 2))) for i, image in enumerate(drawn)]


def raw(path: Path, images: list[Image.Image], **more: str) -> list[np.ndarray]:
    detector = Detector(path, sha256=detector_backends.digest(path), **SETTINGS, **more)
    return [one.numpy() for one in detector._network([detector.prepare(i).pixels for i in images])]


def test_torch_its_export_and_openvino_agree(
    torch_weights: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    digest = detector_backends.digest(torch_weights)
    exported = tmp_path / "exported.onnx"
    for path in (exported, tmp_path / "again.onnx"):
        detector_backends.export_weights(
            torch_weights, path, sha256=digest, image_size=128, batch=1
        )
    assert exported.read_bytes() == (tmp_path / "again.onnx").read_bytes()
    folder = tmp_path / "exported_openvino_model"
    model = detector_backends.ultralytics().YOLO(torch_weights, task="detect")
    Path(model.export(format="openvino", imgsz=128, dynamic=True)).rename(folder)
    ours = raw(torch_weights, pictures)
    assert [one.shape[-1] for one in ours] == [336, 252, 336, 252]
    for path in (exported, folder):
        for expected, got in zip(ours, raw(path, pictures), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-3)
    names = Detector(folder, **SETTINGS).names
    assert names == Detector(torch_weights, sha256=digest, **SETTINGS).names
    assert len(names) == 80


def test_a_signal_after_a_detector_is_gone_reaches_its_handler() -> None:
    code = """
import signal, sys, threading
from countclip.data.detector import Detector

settings = {"image_size": 128, "confidence_floor": 0.1, "iou": 0.7, "max_detections": 300}
one, two = ([Detector(sys.argv[1], **settings)] for _ in range(2))
one.clear()
threading.Thread(target=two.clear).start()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
signal.raise_signal(signal.SIGUSR1)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, ONNX],
        env={"PYTHONPATH": str(Path(data_detector.__file__).parents[2])},
        capture_output=True,
    )
    assert (run.returncode, run.stdout.splitlines()[-1:]) == (0, [b"handled"]), run.stderr.decode()


def test_weights_of_one_size_say_so(torch_weights: Path, tmp_path: Path) -> None:
    model = detector_backends.ultralytics().YOLO(torch_weights, task="detect")
    fixed = Path(model.export(format="onnx", imgsz=96)).rename(tmp_path / "fixed.onnx")
    with pytest.raises(ValueError, match="image_size is 128, but .*fixed.onnx only takes 96"):
        Detector(fixed, **SETTINGS)
    detector = Detector(fixed, **SETTINGS | {"image_size": 96})
    assert detector.prepare(Image.new("RGB", (200, 100))).pixels.shape == (96, 96, 3)


@pytest.mark.parametrize(
    ("name", "more", "complaint"),
    [
        ("weights.safetensors", {}, "is no .pt, .onnx or .engine file"),
        ("weights.engine", {}, "does not run on cpu"),
        ("folder", {}, "has no .xml file"),
        ("weights.onnx", {"device": "cuda:0"}, "needs onnxruntime-gpu"),
        ("folder", {"device": "cuda:0"}, "does not run on cuda:0"),
        ("weights.pt", {"precision": "bf16"}, "runs in f32 alone on cpu"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, name: str, more: dict[str, str], complaint: str
) -> None:
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.touch()
    settings = {"device": "cpu", "precision": "f32", "threads": 1} | more
    with pytest.raises(ValueError, match=complaint):
        detector_backends.load(path, **settings)


def test_ultralytics_is_kept_to_itself() -> None:
    library = detector_backends.ultralytics()
    assert library.settings["sync"] is False
    assert library.utils.ONLINE is False
    assert library.utils.AUTOINSTALL is False
    assert Path(os.environ["YOLO_CONFIG_DIR"]).parent == Path(tempfile.gettempdir())
