"""How fast is an evaluation on CountBench, beside the procedure as it was published?

ViT-B/32 with random weights in float32, real captions, pictures of noise. As published: one row
at a time; its picture is opened, prepared and encoded alone; the caption, a counterfactual and the
nine candidates are each tokenised and encoded alone, padded to 77 tokens; then the whole model sees
the picture and its caption once more, for a validation loss (two image and twelve text passes).
Ours: `counting.Questions` and `embeddings.embed` on all rows. Each side has a process of
its own; the published one works on a sample, spread over the rows, and its time is scaled to all.
The answers of the sample must be the same.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import transforms

import common
from common import SHARED
from countclip.data import captions, images
from countclip.data.number_words import NUMBERS
from countclip.evaluation import counting
from countclip.model import embeddings
from countclip.model.clip import Clip

MODEL = "ViT-B-32"
SIDE = 480


def picture(index: int) -> bytes:
    """A JPEG of smooth coloured noise, which costs a decoder about what a photo does."""
    rng = np.random.default_rng(index)
    small = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE)).save(file, "JPEG", quality=90)
    return file.getvalue()


def published(clip: Clip, rows: list[dict]) -> list[int]:
    """The answers of the procedure as published."""
    prepare = transforms.Compose(
        [
            transforms.Resize(clip.image_size, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(clip.image_size),
            transforms.ToTensor(),
            transforms.Normalize(clip.mean, clip.std),
        ]
    )
    model, tokenize = clip.model, clip.tokenizer
    answers, losses = [], []
    with torch.no_grad():
        for row in rows:
            # Their truncation is not followed: it loses number words, and with them the answers.
            text = captions.truncate(
                row["caption"], row["number"], tokenize.encode, clip.token_limit
            )
            nine = captions.with_each_number(text, row["number"])
            image = prepare(Image.open(io.BytesIO(row["file"])).convert("RGB"))[None]
            one = model.encode_image(image, normalize=True)
            right = model.encode_text(tokenize([text]), normalize=True)
            wrong = nine[row["number"] % 9]  # one of the eight others
            wrong = model.encode_text(tokenize([wrong]), normalize=True)
            each = [model.encode_text(tokenize([other]), normalize=True) for other in nine]
            cosines = torch.stack([(one * other).sum() for other in each])
            answers.append(NUMBERS[int(cosines.argmax())])
            embedding, caption, scale = model(image, tokenize([text]))
            target = torch.zeros(1, dtype=torch.long)
            loss = F.cross_entropy(scale * embedding @ caption.T, target)
            losses.append(float(loss + F.softplus((one * wrong).sum() - (one * right).sum())))
    return answers


def ours(clip: Clip, rows: list[dict]) -> list[int]:
    """The answers of ours, from the rows that `store.read_benchmark` would yield."""
    opened = (row | {"image": images.decode(row["file"])} for row in rows)
    asked = counting.Questions.of(clip, opened)
    similarity = embeddings.similarities(clip, asked.images, asked.tokens, batch=8)
    return [NUMBERS[place] for place in similarity.argmax(axis=1)]


SIDES = {"published": published, "ours": ours}


def work(side: str, threads: int, path: str) -> None:
    """What a side's process does: for each line of its input, a list of rows, it answers them."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    clip = Clip(MODEL, None)
    clip.model.eval()
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    rows = [
        {"index": i, "caption": row["text"], "number": int(row["number"]), "file": picture(i)}
        for i, row in enumerate(rows)
    ]
    SIDES[side](clip, rows[:4])
    print("ready", flush=True)
    for line in sys.stdin:
        chosen = [rows[i] for i in json.loads(line)]
        start = time.perf_counter()
        answers = SIDES[side](clip, chosen)
        print(json.dumps({"seconds": time.perf_counter() - start, "answers": answers}), flush=True)


class Side:
    """A process of one side; calling it with rows takes their answers, and seconds, from there."""

    def __init__(self, name: str, threads: int, path: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        if name == "published":
            environment["THP_MEM_ALLOC_ENABLE"] = "0"
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--side", name, "--threads", str(threads), "--list", path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("a side of the benchmark did not start; its error is above")

    def __call__(self, rows: list[int]) -> dict:
        self.process.stdin.write(json.dumps(rows) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        self.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", default=str(SHARED / "countbench/CountBench.json"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=20, help="rows of a published round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        work(chosen.side, chosen.threads, chosen.list)
        return
    with open(chosen.list, encoding="utf-8") as file:
        n = len(json.load(file))
    sides = {name: Side(name, chosen.threads, chosen.list) for name in SIDES}
    sampled = np.linspace(0, n, chosen.rounds * chosen.sample, endpoint=False, dtype=int)
    seconds, same = {name: [] for name in SIDES}, 0
    for i in range(chosen.rounds):
        rows = sampled[i :: chosen.rounds].tolist()
        theirs, all_of_ours = sides["published"](rows), sides["ours"](list(range(n)))
        seconds["published"].append(theirs["seconds"] / len(rows) * n)
        seconds["ours"].append(all_of_ours["seconds"])
        same += sum(
            all_of_ours["answers"][row] == answer
            for row, answer in zip(rows, theirs["answers"], strict=True)
        )
        print(f"round {i + 1}: " + ", ".join(f"{k} {v[-1]:.1f} s" for k, v in seconds.items()))
    for side in sides.values():
        side.end()
    published_seconds, own_seconds = map(statistics.median, seconds.values())
    print(
        f"{n} images x 9 captions: published {published_seconds:.1f} s (scaled from"
        f" {len(sampled)} images), ours {own_seconds:.1f} s; {same} of {len(sampled)} answers are"
        " the same"
    )
    common.report(
        "evaluate",
        ratio_published=published_seconds / own_seconds,
        same_answers=same / len(sampled),
    )


if __name__ == "__main__":
    main()
