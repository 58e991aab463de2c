"""How fast is a training step of the paper's setting, beside the procedure as it was published?

ViT-B/32 with random weights (QuickGELU, as OpenAI's), batches of four pairs and one counting pair
with one counterfactual. Each side has a process of its own, which takes a step whenever it is told
to; the published one has torch's own settings for memory, ours those of the package.

As published is what the authors' training script and notebooks (github.com/SforAiDl/CountCLIP) do:

- a loader without worker processes, so the five pictures are read as they were downloaded, decoded
  and resized within the step. Their archive has 973 MB for some 11,000 pictures, hence 88 kB each;
- captions and counterfactuals were tokenised before the training, always to 77 tokens;
- all five pictures and all five captions go through the towers for L_count, which then takes the
  fifth pair; the fifth's counterfactual goes through alone; then the whole model runs again over
  the same pictures and captions for L_CLIP: two image and three text passes, all with gradients;
- L_count in float64, torch's Adam by its defaults, which on a CPU are neither fused nor foreach.

Left out, in the published side's favour: the log to Weights & Biases, and that on a CPU their
notebooks put the model into float64. Of their GPU's conversions between float16 and float32 at each
step their own code does none on a CPU.

Ours: `contrastive.Contrastive`, the optimizer of `optim.make_optimizer` and the memory of
`cpu.prepare_process`, in float32 and with bf16-mixed.

Found twice, on two cores with AMX that other work shared: published 3.0 and 3.7 s, ours 0.88 and
0.91 s (3.4 and 4.0 times), with bf16 0.56 and 0.59 s (5.4 and 6.2 times); that is 64 to 84 % and 23
to 26 % of the peak of a large product, which suffered from the other work too. What holds the
rest: products with 126 to 250 rows, whose weights come from memory each time; Adam's 4 GB of
traffic (0.09 s); with bf16 the casts of all weights and their gradients (0.15 s).
`--memory`: 3.4 GB with a batch of 5, 5.1 GB with 40, and 3.4 GB with 40 or 80 in pieces of 5.
"""

import argparse
import io
import json
import os
import subprocess
import sys

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from PIL import Image
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

import common
from countclip.data.number_words import NUMBERS, WORDS
from countclip.model.clip import Clip
from countclip.training.contrastive import Contrastive
from countclip.training.counting import Batches, Pairs
from countclip.training.cpu import prepare_process
from countclip.training.losses import CountClipLoss
from countclip.training.optim import make_optimizer
from countclip.training.settings import OptimizerSettings

MODEL = "ViT-B-32-quickgelu"
ADAM = (5e-6, (0.9, 0.98), 5e-6, 0.2)
COUNTED = "Set of {} vintage wooden dining chairs with woven seats, around 1960"
OTHERS = [
    "Kitchen with white cabinets",
    "A boat on the lake in the evening light, photographed from the old pier",
    "Women's waterproof hiking jacket, dark green, size M",
    "How to plant tomatoes in pots: a guide for beginners with small balconies and little time",
]
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "optimizer": ("aten::_fused_adam_",),
    "copies and casts": ("aten::copy_", "aten::fill_", "aten::add_"),
    "first convolution": ("aten::convolution_backward", "aten::mkldnn_convolution"),
}


def pictures(n: int, side: int) -> np.ndarray:
    """Smooth coloured noise, which costs a decoder about what a photo does."""
    small = np.random.default_rng(0).integers(0, 256, (n, side // 8, side // 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side))) for one in small])


def published(clip: Clip):
    """A step as published, on its own pictures; in float32."""
    files = []
    for picture in pictures(5, 512):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    prepare = transforms.Compose(
        [
            transforms.Resize(clip.image_size, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(clip.image_size),
            transforms.ToTensor(),
            transforms.Normalize(clip.mean, clip.std),
        ]
    )
    captions = clip.tokenizer([*OTHERS, COUNTED.format("five")])
    counterfactual = clip.tokenizer([COUNTED.format("three")])
    model = clip.model
    adam = torch.optim.Adam(model.parameters(), *ADAM)

    def step() -> None:
        adam.zero_grad()
        images = torch.stack([prepare(Image.open(io.BytesIO(file))) for file in files])
        image = model.encode_image(images, normalize=True)[4].double()
        right = model.encode_text(captions, normalize=True)[4].double()
        wrong = model.encode_text(counterfactual, normalize=True)[0].double()
        counting = F.softplus(image @ wrong - image @ right)
        image, text, scale = model(images, captions)
        logits = scale * image @ text.T
        target = torch.arange(5)
        clip_loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        (clip_loss + counting).backward()
        adam.step()

    return step


def ours(clip: Clip, precision: str, n: int = 1, micro_batch: int | None = None):
    """A step of ours, with `n` counting pairs and four times as many others."""
    images = pictures(5 * n, clip.image_size)
    numbers = [NUMBERS[i % 9] for i in range(n)]
    texts = [COUNTED.format(WORDS[number]) for number in numbers]
    counting = Pairs.counting(clip, images, np.arange(n), texts, numbers)
    others = Pairs.plain(clip, images, np.arange(n, 5 * n), OTHERS * n)
    batches = Batches(
        counting, others, size=5 * n, n_counting=n, counterfactuals=1,
        lambdas=dict.fromkeys(NUMBERS, 1.0), seed=0,
    )  # fmt: skip
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    prepare_process(fabric.device)
    objective = Contrastive(clip, CountClipLoss(rows=micro_batch), micro_batch=micro_batch)
    objective.setup(fabric)
    adam = make_optimizer(objective.groups(), OptimizerSettings("adam", *ADAM))
    steps = iter(range(10**9))

    def step() -> None:
        objective.backward(batches.batch(next(steps)), seed=0)
        adam.step()
        adam.zero_grad()

    return step


def peak(dtype: torch.dtype):
    """A product of two large square matrices."""
    one, other = torch.randn(2, SQUARE, SQUARE).to(dtype)
    return lambda: one @ other


SQUARE = 2048
SIDES = {
    "published": lambda: published(Clip(MODEL, None)),
    "fp32": lambda: ours(Clip(MODEL, None), "32-true"),
    "bf16": lambda: ours(Clip(MODEL, None), "bf16-mixed"),
    "peak fp32": lambda: peak(torch.float32),
    "peak bf16": lambda: peak(torch.bfloat16),
}


def work(side: str, threads: int) -> None:
    """What a side's process does: a step a line of its input; then what a step consists of."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step = SIDES[side]()
    for line in sys.stdin:
        if line == "end\n":
            break
        step()
        print("done", flush=True)
    with FlopCounterMode(display=False) as counter:
        step()
    print(json.dumps({"flops": counter.get_total_flops(), "parts": parts(step)}))


class Side:
    """A process of one side; calling it takes one step there."""

    def __init__(self, name: str, threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        if name == "published":
            environment["THP_MEM_ALLOC_ENABLE"] = "0"
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--side", name, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def __call__(self) -> None:
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise RuntimeError("a side of the benchmark ended; its error is above")

    def end(self) -> dict:
        output, _ = self.process.communicate("end\n")
        return json.loads(output.splitlines()[-1])


def parts(step) -> dict[str, float]:
    """Shares of the time of a step by kind of work."""
    with profile() as profiler:
        step()
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(times.values())
    shares = {kind: sum(times.get(name, 0) for name in KINDS[kind]) / total for kind in KINDS}
    return shares | {"rest": 1 - sum(shares.values())}


MEMORY = """
import sys
import train_step
n, micro_batch = int(sys.argv[1]), int(sys.argv[2]) or None
step = train_step.ours(train_step.Clip(train_step.MODEL, None), "32-true", n, micro_batch)
step()
step()
"""


def memory(figures: dict[str, float]) -> None:
    """Peak memory of whole processes, and what a batch of 32,768 needs by the same sums."""
    parameters = 151_277_313
    peaks = {
        (5 * n, micro): common.run(MEMORY, str(n), str(micro))[1] / 1024
        for n, micro in ((1, 0), (8, 0), (8, 5), (16, 5))
    }
    for (batch, micro), peak in peaks.items():
        pieces = f"pieces of {micro}" if micro else "as a whole"
        print(f"batch {batch:>3} {pieces:<12} {peak:.2f} GB")
    each = (peaks[40, 0] - peaks[5, 0]) / 35  # a picture with its captions, all activations
    fixed = 16 * parameters / 1e9
    embeddings = (2 * 32768 + 1024) * 512 * 4 * 2 / 1e9
    print(
        f"computed: weights, gradients and Adam's moments {fixed:.2f} GB; {1000 * each:.0f} MB a"
        f" pair in memory. Batch 32,768: {32768 * each:.0f} GB as a whole; in pieces of 256"
        f" {fixed + 256 * each + embeddings + 4 * 256 * 32768 * 4 / 1e9:.1f} GB, of which"
        f" {embeddings:.2f} GB are embeddings and their gradients"
    )
    figures["memory_batch_5"] = peaks[5, 0]
    figures["memory_batch_80_in_pieces"] = peaks[80, 5]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="measure memory too")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        work(chosen.side, chosen.threads)
        return
    sides = {name: Side(name, chosen.threads) for name in SIDES}
    common.in_turn(sides, rounds=2)  # warm: memory, optimizer states, kernels
    seconds = common.in_turn(sides, chosen.rounds)
    ends = {name: side.end() for name, side in sides.items()}
    figures = {}
    for name in ("fp32", "bf16"):
        figures[f"ratio_published_{name}"] = seconds["published"] / seconds[name]
        reached = ends[name]["flops"] / seconds[name]
        highest = ends[f"peak {name}"]["flops"] / seconds[f"peak {name}"]
        figures["peak_share" if name == "bf16" else "peak_share_fp32"] = reached / highest
        print(
            f"{name}: {seconds[name]:.3f} s a step (published {seconds['published']:.3f} s),"
            f" {reached / 1e9:.0f} of {highest / 1e9:.0f} GFLOP/s"
        )
        print("   ", ", ".join(f"{k} {v:.0%}" for k, v in ends[name]["parts"].items()))
    if chosen.memory:
        memory(figures)
    common.report("train_step", **figures)


if __name__ == "__main__":
    main()
