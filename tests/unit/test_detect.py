"""The detector as the workflow runs it, with the miniature's own weights."""

import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip import detect, fetch, filtering, pictures
from countclip.files import sha256, write_table
from countclip.miniature import scenes

WEIGHTS = Path(__file__).parents[2] / "resources/miniature/detector/yolov8.onnx"
SETTINGS = {"image_size": 128, "confidence_floor": 0.1, "iou": 0.7, "max_detections": 300}


def scene(index: int, number: int) -> Image.Image:
    return scenes.draw(scenes.make("detector_test", index, number))


@pytest.fixture(scope="module")
def detector() -> detect.Detector:
    return detect.Detector(WEIGHTS, **SETTINGS)


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """Candidates and manifest of nine pictures: one does not count, one is broken, one is gone."""
    numbers = [2, 3, None, 4, 5, 6, 7, 8, 9]
    rows = [{"sample_id": str(i), "url": f"u{i}", "caption": "", "number": n, "words": []}
            for i, n in enumerate(numbers)]  # fmt: skip
    candidates, manifest = tmp_path / "candidates.parquet", tmp_path / "images/part-00000.parquet"
    write_table(pa.Table.from_pylist(rows, schema=filtering.CANDIDATES), candidates)
    shard = pictures.shards_of(manifest) / "first/00000.tar"
    shard.parent.mkdir(parents=True)
    entries = []
    with tarfile.open(shard, "w") as tar:
        for i, number in reversed(list(enumerate(numbers))):
            buffer = io.BytesIO()
            scene(i, number or 1).save(buffer, "JPEG", quality=90)
            data = buffer.getvalue() if i != 4 else buffer.getvalue()[:400]
            member = tarfile.TarInfo(f"{i}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            where = {"shard": "first/00000.tar", "member": f"{i}.jpg"}
            entries.append({"key": f"{i:09d}", "status": "http_404" if i == 8 else "ok", **where})
    index = pa.Table.from_pylist(entries[::-1], schema=fetch.INDEX)
    write_table(index, pictures.shards_of(manifest) / "index.parquet")
    write_table(pa.Table.from_pylist(entries[::-1], schema=fetch.MANIFEST), manifest)
    return candidates, manifest


def run(images: tuple[Path, Path], name: str, **more) -> Path:
    folder = images[0].parent
    settings = SETTINGS | {"weights": WEIGHTS, "batch": 3, "state": folder / "state"} | more
    detect.detect_objects(*images, folder / name, **settings)
    return folder / name


def test_most_scenes_are_counted_exactly(detector: detect.Detector) -> None:
    numbers = [2, 3, 4, 5, 6, 7, 8, 9, 10] * 4
    found = detector([scene(i, n) for i, n in enumerate(numbers)])
    right = 0
    for number, detection in zip(numbers, found, strict=True):
        confident = [
            c for c, s in zip(detection.class_id, detection.score, strict=True) if s > 0.25
        ]
        right += max(map(confident.count, confident), default=0) == number
    assert right > len(numbers) / 2


def test_detections_do_not_depend_on_batch_or_threads(detector: detect.Detector) -> None:
    pictures = [scene(i, 5).resize((128, 128 - 16 * (i % 2))) for i in range(6)]
    together = detector(pictures)
    assert together == [detector([image])[0] for image in pictures]
    assert together == detect.Detector(WEIGHTS, **SETTINGS, threads=2)(pictures)


def test_the_number_of_threads_is_fixed() -> None:
    model = detect.Detector(WEIGHTS, **SETTINGS, threads=1)._model
    options = model.predictor.model.backend.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_table_of_detections(images: tuple[Path, Path], detector: detect.Detector) -> None:
    path = run(images, "detections.parquet")
    table = pq.read_table(path)
    assert table.schema.equals(detect.DETECTIONS)
    assert table["key"].to_pylist() == [f"{i:09d}" for i in (0, 1, 3, 4, 5, 6, 7)]
    rows = {row["key"]: row for row in table.to_pylist()}
    assert rows["000000004"]["class_id"] is None  # unreadable, and said so
    data = dict(pictures.read_images(images[1]))["000000005"]
    (direct,) = detector([pictures.decode(data)])
    assert rows["000000005"]["class_id"] == direct.class_id
    assert rows["000000005"]["score"] == direct.score
    assert rows["000000005"]["box"] == direct.box
    assert direct.score == sorted(direct.score, reverse=True)
    about = pq.read_schema(path).metadata
    assert about[b"weights_sha256"].decode() == sha256(WEIGHTS)
    assert json.loads(about[b"class_names"]) == {str(k): v for k, v in detector.names.items()}
    assert not list((images[0].parent / "state").iterdir())


def test_a_killed_job_goes_on_to_the_same_bytes(
    images: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect, "BLOCK", 2)
    whole = run(images, "whole.parquet").read_bytes()
    inner, calls = detect._detect, []

    def killed(*args) -> list[dict]:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return inner(*args)

    monkeypatch.setattr(detect, "_detect", killed)
    with pytest.raises(KeyboardInterrupt):
        run(images, "resumed.parquet")
    assert run(images, "resumed.parquet").read_bytes() == whole
    assert len(calls) == 3 + 2  # four blocks, of which two were done before the kill


def test_no_weights_no_download() -> None:
    with pytest.raises(FileNotFoundError, match="yolov8n.pt does not exist.*never downloaded"):
        detect.Detector("yolov8n.pt", **SETTINGS)


def test_ultralytics_is_kept_to_itself(detector: detect.Detector) -> None:
    library = detect.ultralytics()
    assert library.settings["sync"] is False
    assert library.utils.ONLINE is False
    assert library.utils.AUTOINSTALL is False
    assert not Path(os.environ["YOLO_CONFIG_DIR"]).exists()
    with pytest.raises(RuntimeError, match="NMS time limit.*detections would be lost"):
        library.utils.LOGGER.warning("NMS time limit 2.050s exceeded")


def test_digest_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.bin").write_bytes(b"1")
    first = detect.digest(tmp_path)
    assert first == detect.digest(tmp_path)
    (tmp_path / "a/x.bin").rename(tmp_path / "a/y.bin")
    assert first != detect.digest(tmp_path)
