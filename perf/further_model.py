"""How many seconds, and how much memory, does a further model take on a benchmark?

Before: each model decodes and resizes every image of the benchmark's Parquet file. After: the
images were packed once. Both embed images of photo-like noise with a CLIP of random weights and
must find the same cosines. Each side has a process of its own, in turn. The memory is that of the
process above what it has with the model loaded, for a file as large as asked.
"""

import argparse
import io
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import common
from countclip.data.number_words import WORDS
from countclip.runtime.files import sha256

SIDES = ("before", "after")
WORK = """
import hashlib, json, sys, time
import numpy as np
import torch
from countclip.benchmarks import store
from countclip.evaluation.counting import Questions
from countclip.model import embeddings
from countclip.model.clip import Clip

side, folder, model, threads, is_whole = sys.argv[1:]
torch.set_num_threads(int(threads))
torch.manual_seed(0)
clip = Clip(model, None)
clip.model.eval()

def peak():
    return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024

size = clip.image_size
embeddings.embed(clip, np.zeros((8, size, size, 3), 'u1'), np.ones((8, 9, 9), 'u2'), 8)
loaded, start = peak(), time.perf_counter()
read = {"before": store.read_benchmark, "after": store.read_packed}[side]
images = {"before": "images.parquet", "after": "images.npy"}[side]
questions = Questions.of(clip, read(folder + "/benchmark.parquet", folder + "/" + images))
reading, found = time.perf_counter() - start, hashlib.sha256()
if is_whole == "yes":
    cosines = embeddings.similarities(clip, questions.images, questions.tokens, batch=8)
    found.update(cosines.tobytes())
else:  # every image passes, and no model
    for i in range(0, len(questions.images), 8):
        found.update(questions.images[i:i + 8].tobytes())
print(json.dumps({"reading": reading, "seconds": time.perf_counter() - start,
                  "memory": peak() - loaded, "found": found.hexdigest()}))
"""
PACK = """
import sys
from countclip.benchmarks import store
from countclip.model import inputs
from countclip.model.clip import image_size

folder, model = sys.argv[1:]
table, images = folder + "/benchmark.parquet", folder + "/images.parquet"
inputs.pack_images(store.images_in_order(table, images), store.count_rows(table),
                   image_size(model, None), folder + "/images.npy")
"""


def make(folder: Path, n: int, side: int) -> None:
    """A benchmark of n images, stored as benchmarks/custom.py does."""
    rows, bodies = [], []
    for index in range(n):
        rng = np.random.default_rng(index)
        small = rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((side, side)).save(file, "JPEG", quality=90)
        bodies.append(file.getvalue())
        number = 2 + index % 9
        rows.append(
            {"index": index, "caption": f"{WORDS[number]} dogs", "number": number, "width": side,
             "included": True, "sha256": sha256(bodies[-1]), "height": side}
        )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "benchmark.parquet")
    columns = {"index": pa.array(range(n), pa.int32()), "sha256": [sha256(b) for b in bodies],
               "image": pa.array(bodies, pa.large_binary())}  # fmt: skip
    images = folder / "images.parquet"
    pq.write_table(pa.table(columns), images, compression="zstd", row_group_size=16)


def measure(side: str, folder: Path, chosen: argparse.Namespace, is_whole: bool) -> dict:
    """What a side's process says of one further model."""
    arguments = (side, str(folder), chosen.model, str(chosen.threads), "yes" if is_whole else "no")
    output, _ = common.run(WORK, *arguments)
    return json.loads(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--images", type=int, default=540)
    parser.add_argument("--side", type=int, default=480)
    parser.add_argument("--megabytes", type=int, default=500, help="of the file for the memory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, chosen.images, chosen.side)
        common.run(PACK, str(folder), chosen.model)
        found = {side: [] for side in SIDES}
        for i in range(chosen.rounds):
            for side in SIDES:
                found[side].append(measure(side, folder, chosen, True))
            shown = (
                f"{side} {each[-1]['seconds']:.1f} s, of which {each[-1]['reading']:.1f} before the"
                " first embedding"
                for side, each in found.items()
            )
            print(f"round {i + 1}: {'; '.join(shown)}")
        same = len({one["found"] for each in found.values() for one in each}) == 1
        seconds = {
            side: statistics.median(one["seconds"] for one in each) for side, each in found.items()
        }
        size = (folder / "images.parquet").stat().st_size / 1e6
        make(folder, max(16, round(chosen.images * chosen.megabytes / size)), chosen.side)
        common.run(PACK, str(folder), chosen.model)
        size = (folder / "images.parquet").stat().st_size / 1e6
        memory = {side: measure(side, folder, chosen, False)["memory"] for side in SIDES}
    print(
        f"{chosen.images} images x 9 captions, a further model: {seconds['before']:.1f} s before,"
        f" {seconds['after']:.1f} s after; cosines {'the same' if same else 'DIFFERENT'}. A file of"
        f" {size:.0f} MB: {memory['before']:.0f} and {memory['after']:.0f} MB above the model"
    )
    common.report(
        "further_model",
        seconds_before=seconds["before"],
        seconds_after=seconds["after"],
        same_cosines=float(same),
        megabytes_before=memory["before"],
        megabytes_after=memory["after"],
    )


if __name__ == "__main__":
    main()
