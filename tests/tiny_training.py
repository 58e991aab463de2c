"""A CLIP of the miniature's size with random weights, its batches, and whole small trainings.

Run as a script it trains in as many processes as it is told: what the tests of ranks look at.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from countclip import models
from countclip.batches import Batches, Pairs
from countclip.captions import WORDS
from countclip.miniature.clip import ARCHITECTURE
from countclip.models import Clip
from countclip.training import fit

SETTINGS = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "betas": (0.9, 0.98),
    "epsilon": 1e-6,
    "weight_decay": 0.1,
    "schedule": "warmup_cosine",
    "count_logit_scale": 10.0,
    "train_logit_scale": True,
    "precision": "32-true",
    "accelerator": "cpu",
    "seed": 3,
}


def make_config(folder: Path) -> Path:
    """An open_clip config with the 77 tokens of CLIP, and a vocabulary of few words beside it."""
    path = folder / "tiny-test.json"
    n = models.cut_merges([*WORDS.values(), "dogs", "cats"], path.with_suffix(".merges.txt.gz"))
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


def of_the_weights(clip: Clip) -> dict[str, float]:
    """A metric that goes up and down, and that a resumed run must find again."""
    return {"metric": clip.model.visual.conv1.weight.double().sum().item() * 1e6 % 1}


def train(config: Path, folder: Path, evaluate=of_the_weights, batches=None, **settings) -> dict:
    """A whole training of twelve steps; returns what `fit` does. Its files lie in `folder`."""
    clip = make_clip(config)
    outputs = {name: str(folder / f"{name}.safetensors") for name in ("end", "metric")}
    outputs["history"] = str(folder / "history.csv")
    common = {"steps": 12, "evaluations": 4, "watched": "metric"}
    return fit(
        clip, make_batches(clip, **batches or {}), evaluate, outputs, str(folder / "state"),
        {"name": "tiny-test"}, **SETTINGS | common | settings,
    )  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), Path(sys.argv[2]), **json.loads(sys.argv[3]))
