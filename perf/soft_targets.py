"""Memory and time of soft targets beside hard labels, in large batches of unrelated embeddings.

The objects of captions are drawn by Zipf's law with two exponents: that of real captions is 0.7 to
0.8, and 1.0 is what one too frequent word (such as "photo") makes of them.

The last lines set the targets of a large batch beside a training step of ViT-B/32, computed from
parts that are measured:

- a step is the forward and backward pass of a few pairs, as often as the batch has them, without
  the second forward pass of gradient caching, and the hard loss of the smaller batch, times the
  square of the ratio of sizes;
- what soft targets add is the target of the large batch, and the product T b of the smaller one in
  both directions, forward and backward, times that square.

All is CPU time of one thread.
"""

import argparse

from common import report, run

SETUP = """
import json, sys, time
import numpy as np, torch
from countclip.training.losses import ClipLoss
from countclip.training.soft_targets import ObjectSets, SoftClipLoss, Targets, TargetSettings
size, exponent, what = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
rng = np.random.default_rng(0)
popularity = np.cumsum(1 / np.arange(1, 100_001) ** exponent)
def objects():
    draws = rng.random((size, 4)) * popularity[-1]
    rows = np.searchsorted(popularity, draws).tolist()
    return ObjectSets([row[: 1 + i % 4] for i, row in enumerate(rows)], np.zeros(size, int))
"""

LOSS = """
generator = torch.Generator().manual_seed(0)
image, text = torch.nn.functional.normalize(torch.randn(2, size, 512, generator=generator), dim=-1)
image.requires_grad_(), text.requires_grad_()
scale = torch.tensor(14.0, requires_grad=True)
start = time.process_time()
if what == "hard":
    ClipLoss(1024)(image, text, scale).backward()
else:
    kind = {"smooth": "smooth", "objects": "objects"}[what]
    targets = Targets(TargetSettings(kind, 0.5), objects() if kind == "objects" else None)
    start = time.process_time()
    SoftClipLoss(1024)(image, text, scale, targets.of(np.arange(size))).backward()
print(time.process_time() - start)
"""

PRODUCT = """
target = Targets(TargetSettings("objects", 0.5), objects()).of(np.arange(size))
both = torch.randn(2, size, 512).requires_grad_()
start = time.process_time()
for one, other in ((both[0], both[1]), (both[1], both[0])):
    (one * target.mix(other)).sum().backward()
print(time.process_time() - start)
"""

TARGET = """
targets = Targets(TargetSettings("objects", 0.5), objects())
start = time.process_time()
target = targets.of(np.arange(size))
print(time.process_time() - start, target.overlaps.nnz / size**2)
"""

STEP = """
from countclip.model.clip import Clip
torch.manual_seed(0)
clip = Clip("ViT-B-32-quickgelu", None)
images = torch.randn(size, 3, clip.image_size, clip.image_size)
tokens = clip.tokenizer(["a bench by the lake in the evening"] * size)
def step():
    image, text = clip.model.encode_image(images), clip.model.encode_text(tokens)
    (image.sum() + text.sum()).backward()
step()
start = time.process_time()
step()
print((time.process_time() - start) / size)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=8192, help="pairs of the batch of the losses")
    parser.add_argument("--large", type=int, default=32768, help="pairs of the batch of targets")
    arguments = parser.parse_args()
    figures = {}
    for what in ("hard", "smooth", "objects"):
        output, peak = run(SETUP + LOSS, str(arguments.size), "0.7", what)
        figures |= {f"{what}_seconds": float(output), f"{what}_mb": peak}
        print(f"{arguments.size} pairs, {what}: {float(output):.1f} CPU s, {peak:.0f} MB")
    pair, _ = run(SETUP + STEP, "16", "0.7", "step")
    figures["pair_seconds"] = float(pair)
    figures["step_seconds"] = arguments.large * float(pair)
    scale = (arguments.large / arguments.size) ** 2
    figures["step_seconds"] += figures["hard_seconds"] * scale
    print(
        f"a step of ViT-B/32 with {arguments.large} pairs and hard labels, computed:"
        f" {figures['step_seconds']:,.0f} CPU s ({float(pair):.3f} a pair)"
    )
    figures["memory_ratio"] = figures["objects_mb"] / figures["hard_mb"]
    print(f"objects take {figures['memory_ratio']:.2f} of the memory of hard labels")
    for exponent in ("0.7", "1.0"):
        output, peak = run(SETUP + TARGET, str(arguments.large), exponent, "objects")
        seconds, density = map(float, output.split())
        output, _ = run(SETUP + PRODUCT, str(arguments.size), exponent, "product")
        more = seconds + float(output) * scale
        figures[f"target_seconds_{exponent}"] = seconds
        figures[f"step_share_{exponent}"] = more / figures["step_seconds"]
        print(
            f"{arguments.large} pairs, Zipf {exponent}: {seconds:.1f} CPU s for the target,"
            f" {density:.1%} of pairs share objects, {peak:.0f} MB; with the product"
            f" {more:.1f} s, computed: {more / figures['step_seconds']:.2%} of a step"
        )
    report("soft_targets", **figures)


if __name__ == "__main__":
    main()
