"""How fast is detection beside what was published, with equal counts, and does its memory grow?

Both sides are loaded once, start from JPEG files and end in counts, on two cores: as published, one
call of predict a picture with torch weights and ultralytics' defaults; ours, detect_block. Among
those defaults is one torch thread fewer than there are CPUs, here one; the same with a thread a
core is `published, 2 threads`. The pictures are the real photos beside the checkout, cropped,
mirrored, lighter and darker, or scenes of the miniature where there are none. No real .pt lies
there, so the float weights are taken from the int8 model (its constants, scaled back); they are
YOLOv8n's but for that rounding.
"""

import argparse
import io
import os
import random
import sys
import tarfile
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageEnhance, ImageOps

from common import SHARED, in_turn, report, run
from countclip.data import detector, detector_backends, fetch, filtering
from countclip.data.detector_backends import ultralytics
from countclip.data.shards import shards_of
from countclip.runtime.files import progress, write_table
from miniature import scenes

CORES = 2
MODEL = SHARED / "detector/yolov8n_int8_openvino_model"
MEMORY = """
import sys, tempfile
from pathlib import Path
import detect as bench
from countclip.data import detector
files = [path.read_bytes() for path in sorted(Path(sys.argv[3]).iterdir())]
with tempfile.TemporaryDirectory() as folder:
    stored = bench.store(Path(folder), files, int(sys.argv[1]))
    detector.detect_objects(
        candidates=stored[0], manifest=stored[1],
        detections=Path(folder) / "detections.parquet", weights=sys.argv[2], batch=32,
        state=Path(folder) / "state", threads=bench.CORES, **bench.WAYS["checked"],
        **bench.SETTINGS,
    )
"""
WAYS = {
    "f32": {"precision": "f32"},
    "bf16": {"precision": "bf16"},
    "checked": {"precision": "bf16", "exact_near": 0.25},  # what is reported
}
SETTINGS = {"image_size": 640, "confidence_floor": 0.1, "iou": 0.7, "max_detections": 300}


def pictures(n: int) -> list[bytes]:
    """`n` different JPEG files, always the same."""
    photos = sorted((SHARED / "photos").rglob("*.jpg"))
    made = []
    for i in range(n):
        chance = random.Random(i)
        if photos:
            image = Image.open(photos[i % len(photos)]).convert("RGB")
        else:
            image = scenes.draw(scenes.make("benchmark", i, 2 + i % 9)).resize((640, 480))
        if i >= len(photos):
            width, height = (round(side * chance.uniform(0.7, 1)) for side in image.size)
            x = chance.randint(0, image.width - width)
            y = chance.randint(0, image.height - height)
            image = image.crop((x, y, x + width, y + height))
            image = ImageOps.mirror(image) if chance.random() < 0.5 else image
            image = ImageEnhance.Brightness(image).enhance(chance.uniform(0.7, 1.3))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=95)
        made.append(file.getvalue())
    return made


def store(folder: Path, files: list[bytes], n: int) -> tuple[Path, Path]:
    """Candidates and manifest of `n` pictures: the files, over and over."""
    candidates, manifest = folder / "candidates.parquet", folder / "images/part.parquet"
    columns = [{"sample_id": str(i), "url": str(i), "caption": "", "number": 2, "words": []}
               for i in range(n)]  # fmt: skip
    write_table(pa.Table.from_pylist(columns, schema=filtering.CANDIDATES), candidates)
    shard = shards_of(manifest) / "first/00000.tar"
    shard.parent.mkdir(parents=True)
    with tarfile.open(shard, "w") as tar:
        for i in range(n):
            member = tarfile.TarInfo(f"{i:09}.jpg")
            member.size = len(files[i % len(files)])
            tar.addfile(member, io.BytesIO(files[i % len(files)]))
    rows = [{"key": f"{i:09}", "status": "ok", "shard": "first/00000.tar", "member": f"{i:09}.jpg"}
            for i in range(n)]  # fmt: skip
    write_table(pa.Table.from_pylist(rows, fetch.INDEX), shards_of(manifest) / "index.parquet")
    write_table(pa.Table.from_pylist(rows, fetch.MANIFEST), manifest)
    return candidates, manifest


def write_torch_weights(path: Path) -> None:
    """A YOLOv8n with the float weights of the int8 model, or random ones where there is none."""
    import openvino
    import torch
    import yaml

    yolo = ultralytics().YOLO("yolov8n.yaml", task="detect")
    modules = dict(yolo.model.eval().named_modules())

    def value(node: openvino.Node) -> torch.Tensor:
        constant = openvino.Model([node.output(0)], [], "constant")
        return torch.tensor(openvino.Core().compile_model(constant, "CPU")({})[0])

    if MODEL.is_dir():
        ir = openvino.Core().read_model(next(MODEL.glob("*.xml")))
        for op in (op for op in ir.get_ordered_ops() if op.get_type_name() == "Convolution"):
            name = op.get_friendly_name().removeprefix("__module.").split("/")[0]
            if name.endswith("dfl.conv"):
                continue  # 0 to 15 in every YOLOv8
            modules[name].weight.data.copy_(value(op.input_value(1).get_node()))
            add = next(iter(op.output(0).get_target_inputs())).get_node()
            bias = value(add.input_value(1).get_node()).flatten()
            if modules[name].bias is not None:
                modules[name].bias.data.copy_(bias)
            else:  # the normalisation was folded into the weights, so here it only adds
                norm = modules[name.removesuffix(".conv")].bn
                norm.running_mean.zero_(), norm.running_var.fill_(1 - norm.eps)
                norm.weight.data.fill_(1), norm.bias.data.copy_(bias)
        about = (MODEL / "metadata.yaml").read_text(encoding="utf-8")
        yolo.model.names = yaml.safe_load(about)["names"]
    yolo.save(path)


def count(classes: list[int]) -> int:
    """Objects of the most frequent class."""
    return max(Counter(classes).values(), default=0)


def memory(n: int, network: Path, files: Path) -> float:
    """Peak MB of detect_objects on `n` pictures, in a process of its own."""
    _, peak = run(MEMORY, str(n), str(network), str(files))
    return peak


def counts_of(rows: list[dict]) -> list[int]:
    """The count of each row of detections, at ultralytics' default score."""
    return [
        count([c for c, s in zip(row["class_id"], row["score"], strict=True) if s > 0.25])
        for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=5000, help="pictures of the memory's last look")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(prefix="countclip-bench-") as name:
        folder = Path(name)
        files = pictures(options.pictures)
        (folder / "files").mkdir()
        paths = [folder / "files" / f"{i:06}.jpg" for i in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        stored = store(folder, files, len(files))
        torch_weights, network = folder / "yolov8n.pt", folder / "yolov8n.onnx"
        write_torch_weights(torch_weights)
        digest = detector_backends.digest(torch_weights)
        detector_backends.export_weights(
            torch_weights, network, sha256=digest, image_size=640, batch=1
        )
        model = ultralytics().YOLO(torch_weights)
        counts: dict[str, list[int]] = {}

        def published(name: str, threads: int) -> None:
            import torch

            torch.set_num_threads(threads)
            found = [model.predict(path, verbose=False)[0].boxes.cls for path in paths]
            counts[name] = [count(classes.int().tolist()) for classes in found]

        keys = pq.read_table(stored[1], columns=["key"])["key"].to_pylist()
        detectors = {
            way: detector.Detector(network, threads=CORES, **WAYS[way], **SETTINGS) for way in WAYS
        }

        def side(way: str) -> None:
            with progress(total=len(keys), unit="image", desc=way) as bar:
                rows = detector.detect_block(detectors[way], stored[1], keys, 32, CORES, bar)
            counts[way] = counts_of(rows)

        model.predict(paths[0], verbose=False)
        threaded = f"published, {CORES} threads"
        sides = {
            "published": lambda: published("published", CORES - 1),  # ultralytics' own choice
            threaded: lambda: published(threaded, CORES),
            **{way: partial(side, way) for way in WAYS},
        }
        seconds = in_turn(sides, options.rounds)
        equal = {}
        for name, time in seconds.items():
            pairs = zip(counts[name], counts["published"], strict=True)
            equal[name] = sum(a == b for a, b in pairs) / len(paths)
            rate, ratio = len(paths) / time, seconds["published"] / time
            print(f"{name}: {rate:.1f} images/s, x {ratio:.2f}, counts equal {equal[name]:.3f}")
        few, many = (memory(n, network, folder / "files") for n in (500, options.many))
        print(f"memory: {few:.0f} MB after 500 images, {many:.0f} MB after {options.many}")
    report(
        "detect",
        ratio_published=seconds["published"] / seconds["checked"],
        ratio_threaded=seconds[threaded] / seconds["checked"],
        equal_counts=equal["checked"],
        memory_growth=many / few,
    )


if __name__ == "__main__":
    sys.exit(main())
