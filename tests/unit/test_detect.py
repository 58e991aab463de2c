"""The detector as the workflow runs it, with the miniature's own weights."""

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.data import detector as data_detector
from countclip.data import detector_backends, fetch, filtering, shards
from countclip.data.images import decode
from countclip.runtime.files import sha256, write_table
from kill import killed_often
from miniature import scenes

WEIGHTS = Path(__file__).parents[2] / "resources/miniature/detector/yolov8.onnx"
SETTINGS = {"image_size": 128, "confidence_floor": 0.1, "iou": 0.7, "max_detections": 300}


def scene(index: int, number: int) -> Image.Image:
    return scenes.draw(scenes.make("detector_test", index, number))


@pytest.fixture(scope="module")
def detector() -> data_detector.Detector:
    return data_detector.Detector(WEIGHTS, **SETTINGS)


def stored(
    folder: Path, numbers: list[int | None], broken: int = -1, gone: int = -1
) -> tuple[Path, Path]:
    """Candidates and manifest of a scene for each number; one file is broken, one is gone."""
    rows = [{"sample_id": str(i), "url": f"u{i}", "caption": "", "number": n, "words": []}
            for i, n in enumerate(numbers)]  # fmt: skip
    candidates, manifest = folder / "candidates.parquet", folder / "images/part-00000.parquet"
    write_table(pa.Table.from_pylist(rows, schema=filtering.CANDIDATES), candidates)
    shard = shards.shards_of(manifest) / "first/00000.tar"
    shard.parent.mkdir(parents=True)
    entries = []
    with tarfile.open(shard, "w") as tar:
        for i, number in reversed(list(enumerate(numbers))):
            buffer = io.BytesIO()
            scene(i, number or 1).save(buffer, "JPEG", quality=90)
            data = buffer.getvalue() if i != broken else buffer.getvalue()[:400]
            member = tarfile.TarInfo(f"{i}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            where = {"shard": "first/00000.tar", "member": f"{i}.jpg"}
            status = "http_404" if i == gone else "ok"
            entries.append({"key": f"{i:09d}", "status": status, **where})
    index = pa.Table.from_pylist(entries[::-1], schema=fetch.INDEX)
    write_table(index, shards.shards_of(manifest) / "index.parquet")
    write_table(pa.Table.from_pylist(entries[::-1], schema=fetch.MANIFEST), manifest)
    return candidates, manifest


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """Nine pictures: one does not count, one is broken, one is gone."""
    return stored(tmp_path, [2, 3, None, 4, 5, 6, 7, 8, 9], broken=4, gone=8)


def run(images: tuple[Path, Path], name: str, **more) -> Path:
    folder = images[0].parent
    settings = SETTINGS | {"weights": WEIGHTS, "batch": 3, "state": folder / "state"} | more
    candidates, manifest = images
    data_detector.detect_objects(
        candidates=candidates, manifest=manifest, detections=folder / name, **settings
    )
    return folder / name


def found(
    detector: data_detector.Detector, images: list[Image.Image]
) -> list[data_detector.Detection]:
    return detector([detector.prepare(image) for image in images])


@pytest.mark.parametrize(
    ("classes", "scores", "unsure"),
    [
        ([1, 1, 2], [0.9, 0.26, 0.6], True),  # one or two of class 1
        ([1, 1, 2], [0.9, 0.6, 0.26], False),  # two of class 1, whatever class 2 has
        ([1, 1], [0.9, 0.2], False),
        ([1], [0.24], True),
        ([], [], False),
    ],
)
def test_a_count_is_unsure_where_a_score_near_the_limit_decides_it(
    classes: list[int], scores: list[float], unsure: bool
) -> None:
    assert data_detector.is_unsure(data_detector.Detection(classes, scores, []), 0.25) is unsure


def test_unsure_pictures_are_looked_at_again_in_float32(detector: data_detector.Detector) -> None:
    pictures = [detector.prepare(scene(i, 2 + i % 9)) for i in range(60)]
    exact = detector(pictures)
    near = sorted(score for one in exact for score in one.score)[20]
    quick = data_detector.Detector(WEIGHTS, **SETTINGS, precision="bf16")(pictures)
    both = data_detector.Detector(WEIGHTS, **SETTINGS, precision="bf16", exact_near=near)(pictures)
    unsure = [data_detector.is_unsure(one, near) for one in quick]
    assert 0 < sum(unsure) < 60
    for one, first, second, again in zip(both, quick, exact, unsure, strict=True):
        assert one == (second if again else first)


def test_most_scenes_are_counted_exactly(detector: data_detector.Detector) -> None:
    numbers = [2, 3, 4, 5, 6, 7, 8, 9, 10] * 4
    detections = found(detector, [scene(i, n) for i, n in enumerate(numbers)])
    right = 0
    for number, detection in zip(numbers, detections, strict=True):
        confident = [
            c for c, s in zip(detection.class_id, detection.score, strict=True) if s > 0.25
        ]
        right += max(map(confident.count, confident), default=0) == number
    assert right > len(numbers) / 2


def test_a_machine_that_sleeps_meanwhile_loses_no_detection(detector, monkeypatch):
    """ultralytics gives up the images of a batch after some seconds, with a warning."""
    from ultralytics.utils import nms

    images = [scene(i, 7) for i in range(3)]
    before = found(detector, images)
    monkeypatch.setattr(nms, "time", SimpleNamespace(time=itertools.count(0, 3600).__next__))
    monkeypatch.setattr(nms.LOGGER, "warning", pytest.fail)
    assert found(detector, images) == before


def test_detections_do_not_depend_on_neighbours_or_threads(
    detector: data_detector.Detector,
) -> None:
    pictures = [scene(i, 5).resize((128, 128 - 16 * (i % 3))) for i in range(6)]
    together = found(detector, pictures)
    assert together == [found(detector, [image])[0] for image in pictures]
    assert together == found(data_detector.Detector(WEIGHTS, **SETTINGS, threads=2), pictures)


def test_as_narrow_as_the_picture_allows(detector: data_detector.Detector) -> None:
    prepared = detector.prepare(Image.new("RGB", (200, 100)))
    assert (prepared.pixels.shape, prepared.size) == ((64, 128, 3), (100, 200))


def test_table_of_detections(images: tuple[Path, Path], detector: data_detector.Detector) -> None:
    path = run(images, "detections.parquet")
    table = pq.read_table(path)
    assert table.schema.equals(data_detector.DETECTIONS)
    assert table["key"].to_pylist() == [f"{i:09d}" for i in (0, 1, 3, 4, 5, 6, 7)]
    rows = {row["key"]: row for row in table.to_pylist()}
    assert rows["000000004"]["class_id"] is None  # unreadable, and said so
    data = dict(shards.read_images(images[1]))["000000005"]
    (direct,) = found(detector, [decode(data)])
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
    monkeypatch.setattr(data_detector, "BLOCK", 2)
    whole = run(images, "whole.parquet").read_bytes()
    inner, calls = data_detector.detect_block, []

    def killed(*args) -> list[dict]:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return inner(*args)

    monkeypatch.setattr(data_detector, "detect_block", killed)
    with pytest.raises(KeyboardInterrupt):
        run(images, "resumed.parquet")
    assert run(images, "resumed.parquet").read_bytes() == whole
    assert len(calls) == 3 + 2  # four blocks, of which two were done before the kill


def prepare() -> None:
    """Import what a detector does as it is made."""
    import openvino  # noqa: F401
    import torch  # noqa: F401

    detector_backends.ultralytics()
    import ultralytics.data.augment
    import ultralytics.nn.backends.base
    import ultralytics.utils.ops  # noqa: F401


def detect_slowly(images: tuple[Path, Path], name: str, log: Path) -> None:
    """In blocks of four images, of which each says that it begins."""

    def noted(detector, manifest, keys, *more, inner=data_detector.detect_block) -> list[dict]:
        with open(log, "a") as out:
            out.write(keys[0] + " ")
        print("ready", flush=True)
        return inner(detector, manifest, keys, *more)

    data_detector.BLOCK, data_detector.detect_block = 4, noted
    run(images, name, batch=4)


def test_killed_ten_times_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    inputs = stored(tmp_path, [2 + i % 9 for i in range(160)])
    name, log = "killed.parquet", tmp_path / "log"
    killed_often(detect_slowly, inputs, name, log, longest=0.15, prepare=prepare)
    assert (tmp_path / name).read_bytes() == run(inputs, "whole.parquet", batch=4).read_bytes()
    blocks = [int(key) // 4 for key in log.read_text().split()]
    assert len(blocks) > 40  # kills hit the work
    for before, after in pairwise(blocks):
        assert after in (before, before + 1)  # none that was finished is begun again


def test_the_order_is_kept_and_few_are_ahead() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(20):
            taken.append(i)
            yield i

    results = data_detector._ahead(lambda i: -i, numbers(), threads=3, most=4)
    assert [next(results), next(results)] == [0, -1]
    assert len(taken) == 6
    assert list(results) == [-i for i in range(2, 20)]
