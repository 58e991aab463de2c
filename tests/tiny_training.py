"""A CLIP of the miniature's size with random weights, its batches, and whole small trainings.

Run as a script it trains in as many processes as it is told: what the tests of ranks look at.
"""

import itertools
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric.utilities import rank_zero_only
from PIL import Image

from countclip.data.number_words import WORDS
from countclip.model.clip import Clip
from countclip.training import checkpoints
from countclip.training.batches import Images
from countclip.training.checkpoints import Metric, Outputs
from countclip.training.contrastive import Contrastive
from countclip.training.counting import Batches, Pairs, finetune
from countclip.training.loop import fit
from countclip.training.losses import CountClipLoss
from countclip.training.settings import from_config
from countclip.training.soft_targets import (
    ObjectSets,
    SoftBatch,
    SoftClip,
    Targets,
    TargetSettings,
)
from miniature.clip import ARCHITECTURE, cut_merges

SETTINGS = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "betas": (0.9, 0.98),
    "epsilon": 1e-6,
    "weight_decay": 0.1,
    "schedule": "warmup_cosine",
    "precision": "32-true",
    "accelerator": "cpu",
    "seed": 3,
}


CHOICE = ("tower", "last_blocks", "lora_rank", "train_logit_scale", "micro_batch", "wise_ft")
"""Settings of the objective; the others are the loop's."""


def make_config(folder: Path) -> Path:
    """An open_clip config with the 77 tokens of CLIP, and a vocabulary of few words beside it."""
    path = folder / "tiny-test.json"
    n = cut_merges([*WORDS.values(), "dogs", "cats"], path.with_suffix(".merges.txt.gz"))
    text = ARCHITECTURE["text_cfg"] | {"vocab_size": 514 + n, "context_length": 77}
    path.write_text(json.dumps(ARCHITECTURE | {"text_cfg": text}), encoding="utf-8")
    return path


def make_clip(config: Path) -> Clip:
    torch.manual_seed(0)
    return Clip("tiny-test", None, str(config))


def make_batches(clip: Clip, seed: int = 1, **settings) -> Batches:
    """Batches of four counting pairs and two others, drawn from 20 and 10."""
    images = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    numbers = [2 + i % 9 for i in range(20)]
    texts = [f"{WORDS[number]} dogs" for number in numbers]
    common = {
        "size": 6,
        "n_counting": 4,
        "counterfactuals": 8,
        "lambdas": {number: float(number) for number in WORDS},
    }
    return Batches(
        Pairs.counting(clip, images, np.arange(20), texts, numbers),
        Pairs.plain(clip, images, np.arange(20, 30), ["cats and more cats"] * 10),
        seed=seed,
        **common | settings,
    )


class SoftBatches:
    """Batches of seven pairs with soft targets, drawn from 20 of one to three kinds."""

    size, steps_per_epoch = 7, 3

    def __init__(self, clip: Clip, **settings) -> None:
        rng = np.random.default_rng(0)
        kinds = [rng.choice(["dogs", "cats", "owls"], rng.integers(1, 3), False) for _ in range(20)]
        texts = [" and ".join(kind) for kind in kinds]
        self.images = rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
        self.pairs = Pairs.plain(clip, self.images, np.arange(20), texts)
        objects = ObjectSets(kinds, [0] * 20)
        self.targets = Targets(TargetSettings("objects", 0.5), objects, **settings)

    def batch(self, step: int) -> SoftBatch:
        rows = np.random.default_rng(step).permutation(20)[: self.size]
        return SoftBatch(
            Images([(self.images, rows)], "none", (step,)),
            torch.from_numpy(self.pairs.tokens[rows, 0].astype(np.int64)),
            torch.zeros(self.size, dtype=torch.int64),
            torch.zeros(0),
            self.targets.of(rows),
        )


def of_the_weights(clip: Clip) -> dict[str, float]:
    """A metric that goes up and down, and that a resumed run must find again."""
    return {"metric": clip.model.visual.conv1.weight.double().sum().item() * 1e6 % 1}


def train(config: Path, folder: Path, evaluate=of_the_weights, batches=None, **settings) -> dict:
    """A whole training of twelve steps; returns what `fit` does. Its files lie in `folder`."""
    clip = make_clip(config)
    rows = settings.get("micro_batch")
    source = make_batches(clip, **batches or {})
    return _train(clip, CountClipLoss(10.0, rows=rows), source, evaluate, folder, settings)


def train_soft(config: Path, folder: Path, **settings) -> dict:
    """The same with soft targets."""
    clip = make_clip(config)
    criterion = SoftClip(settings.get("micro_batch"))
    return _train(clip, criterion, SoftBatches(clip), of_the_weights, folder, settings)


def _train(clip: Clip, criterion, source, evaluate, folder: Path, settings: dict) -> dict:
    end, metric = (str(folder / f"{name}.safetensors") for name in ("end", "metric"))
    common = {"steps": 12, "evaluations": 4, "watched": "metric"}
    choice = {name: settings.pop(name) for name in CHOICE if name in settings}
    objective = Contrastive(clip, criterion, **choice)

    def measure() -> dict[str, float]:
        with objective.published():
            return evaluate(clip)

    return fit(
        objective,
        source,
        measure,
        Outputs(str(folder / "history.csv"), end, (Metric("metric", metric),)),
        str(folder / "state"),
        {"name": "tiny-test"},
        **from_config(**SETTINGS | common | settings),
    )


def make_variant(config: Path, folder: Path) -> None:
    """What `train_variant` reads: the weights to begin with, the counting set and its images."""
    checkpoints.save(make_clip(config).model, folder / "start.safetensors", {})
    images = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    numbers = [2 + i % 9 for i in range(20)]
    counting = {
        "caption": [f"{WORDS[number]} dogs" for number in numbers],
        "number": numbers,
        "split": ["train"] * 18 + ["heldout"] * 2,
    }
    pd.DataFrame(counting).to_parquet(folder / "counting.parquet")
    pd.DataFrame({"caption": ["cats"] * 10}).to_parquet(folder / "non_counting.parquet")


def train_variant(config: Path, folder: Path, benchmark=None, start=None, **settings) -> None:
    """One epoch as the rule of this name has it, from what `make_variant` made in `folder`.

    start: other weights to begin with. A checkpoint says the path of its own.
    """
    row = {"index": 0, "image": Image.new("RGB", (64, 64)), "caption": "two cats", "number": 2}
    start = str(start or folder / "start.safetensors")
    model = {"name": "tiny-test", "pretrained": start, "config": str(config)}
    outputs = {name: str(folder / f"{name}.safetensors") for name in ("end", "best", "selected")}
    outputs |= {name: str(folder / f"{name}.csv") for name in ("history", "lambdas")}
    outputs["model"] = str(folder / "model.json")
    outputs["config"] = str(folder / "open_clip_config.json")
    outputs["link"] = str(folder / "open_clip_model.safetensors")
    common = {
        "batch_size": 6, "counting_per_batch": 4, "epochs": 1, "steps": None,
        "loss": "count", "threads": 1,
        "lambda_scheme": "modal", "lambda_0": 1.0, "normalise": "none",
        "counterfactuals": "drawn", "count_logit_scale": 10.0, "augment": "none",
        "train_logit_scale": True, "replace": "once",
    }  # fmt: skip
    finetune(
        str(folder / "counting.parquet"),
        str(folder / "non_counting.parquet"),
        str(folder / "images.npy"),
        benchmark or [row],
        outputs,
        str(folder / "state"),
        {"variant": "mine", "seed": 3, "model": model},
        model=model,
        **SETTINGS | common | settings,
    )


def stop(config: Path, folder: Path, **settings) -> None:
    """The same, but its second process is asked to stop in the third step."""
    steps = itertools.count(1)

    def backward(self, batch, seed, plain=Contrastive.backward):
        if next(steps) == 3 and rank_zero_only.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch, seed)

    Contrastive.backward = backward
    train_variant(config, folder, **settings)


def note_what_is_published(event: str, arguments: tuple) -> None:
    """An audit hook: a line on the error stream for each file that `files.publish` renames."""
    if event == "os.rename" and ".partial" in str(arguments[0]):
        print("published", Path(arguments[1]).name, file=sys.stderr)


if __name__ == "__main__":
    sys.executable = os.environ["PYTHON"]  # with which Fabric starts the other processes
    torch.set_num_threads(1)
    sys.addaudithook(note_what_is_published)
    whole = {
        "train": train,
        "train_soft": train_soft,
        "train_variant": train_variant,
        "stop": stop,
    }[sys.argv[1]]
    whole(Path(sys.argv[2]), Path(sys.argv[3]), **json.loads(sys.argv[4]))
