"""The detector's weights by address and digest: fetched, exported once, or refused."""

import json

import pyarrow as pa

from countclip.data.detector import Detector
from countclip.data.detector_backends import ultralytics
from countclip.runtime.files import sha256, write_table

from .conftest import Workflow

EXPORTED = "results/weights/exported/mine.onnx"


def test_weights_are_fetched_exported_and_read(tmp_path):
    workflow = Workflow(tmp_path)
    world = tmp_path / "results/miniature/world.parquet"
    world.parent.mkdir(parents=True)
    original = world.with_name("weights.pt")
    ultralytics().YOLO("yolov8n.yaml", task="detect").save(original)
    url = "http://weights.miniature.example/yolov8n.pt"
    row = {"url": [url], "kind": ["file"], "payload": [json.dumps({"path": original.name})]}
    write_table(pa.table(row), world)
    detector = {
        "weights": "results/weights/mine.pt",
        "sha256": "0" * 64,
        "download": {"url": url, "bytes": original.stat().st_size},
        "export": "onnx",
        "image_size": 64,
    }
    run = (EXPORTED, "--allowed-rules", "fetch_weights", "export_weights")
    refused = workflow(*run, "--retries", "0", fails=True, detector=detector)
    assert f"wrong_sha256 (is {sha256(original)}" in refused
    assert not (tmp_path / "results/weights/mine.pt").exists()
    detector["sha256"] = sha256(original)
    workflow(*run, detector=detector)
    settings = {"confidence_floor": 0.1, "iou": 0.7, "max_detections": 300}
    assert len(Detector(tmp_path / EXPORTED, image_size=64, **settings).names) == 80
    assert "Nothing to be done" in workflow(*run, detector=detector)
