"""The loop with an objective of another task: a linear head on frozen embeddings, killed and
resumed."""

import itertools
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from safetensors.torch import load_file

import tiny_training
from countclip.model.embeddings import embed_images
from countclip.training.checkpoints import Metric, Outputs
from countclip.training.loop import fit
from countclip.training.objective import Objective
from countclip.training.optim import make_optimizer
from countclip.training.settings import OptimizerSettings, from_config
from kill import Forks

SETTINGS = tiny_training.SETTINGS | {
    "optimizer": "radam",
    "schedule": "step",
    "decay_at": [0.5],
    "steps": 12,
    "evaluations": 6,
    "watched": "error",
}


class Regression(Objective):
    """A number (n,) from embeddings (n, d): a linear head that begins at random, and an offset with
    a learning rate of its own, which never exceeds 6."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d

    def setup(self, fabric):
        self.head = torch.nn.Linear(self.d, 1, bias=False)
        self.offset = torch.nn.Parameter(torch.tensor(5.5))
        super().setup(fabric)

    def groups(self):
        return [
            {"params": list(self.head.parameters())},
            {"params": [self.offset], "lr": 0.5, "weight_decay": 0.0},
        ]

    def forward(self, embeddings):
        return self.head(embeddings)[:, 0] + self.offset

    def backward(self, batch, seed):
        embeddings, numbers = batch
        loss = F.mse_loss(self(embeddings), numbers)
        loss.backward()
        return {"loss": loss.detach()}

    def after_step(self):
        self.offset.data.clamp_(max=6.0)

    def columns(self):
        return {"offset": self.offset.item()}


class EmbeddedImages:
    """Batches of four embeddings with their numbers, drawn from 20."""

    size, steps_per_epoch = 4, 5

    def __init__(self, embeddings: torch.Tensor) -> None:
        self.embeddings = embeddings
        self.numbers = torch.tensor([2.0 + i % 9 for i in range(len(embeddings))])

    def batch(self, step):
        rows = np.random.default_rng([1, step]).choice(len(self.numbers), self.size, replace=False)
        return self.embeddings[rows], self.numbers[rows]


def train(config: Path, folder: Path, objective=Regression, errors=None, **settings) -> dict:
    """A whole training of the head; its metric is the mean absolute error."""
    torch.set_num_threads(1)
    clip = tiny_training.make_clip(config)
    images = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    batches = EmbeddedImages(embed_images(clip, images).clone())
    trained = objective(batches.embeddings.shape[1])

    @torch.no_grad()
    def evaluate():
        error = (trained(batches.embeddings) - batches.numbers).abs().mean().item()
        return {"error": next(errors) if errors else error}

    return fit(
        trained,
        batches,
        evaluate,
        Outputs(
            str(folder / "history.csv"),
            str(folder / "end.safetensors"),
            (Metric("error", str(folder / "best.safetensors"), "lower"),),
        ),
        str(folder / "state"),
        {"name": "head"},
        **from_config(**SETTINGS | settings),
    )


def killed(config: Path, folder: Path) -> None:
    """Train two more steps, and be killed in the third before it is saved."""
    steps = itertools.count(1)

    class Killed(Regression):
        def after_step(self):
            super().after_step()
            if next(steps) == 3:
                os.kill(os.getpid(), signal.SIGKILL)

    train(config, folder, Killed, checkpoint_minutes=0)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_training.make_config(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    train(config, folder)
    return folder


def test_a_head_killed_at_every_third_step_ends_with_the_same_bytes(config, tmp_path, undisturbed):
    with Forks(killed) as forks:
        for kill in range(5):
            assert forks(config, tmp_path) == -signal.SIGKILL, kill
            stored = torch.load(tmp_path / "state/state.pt", weights_only=True)
            assert stored["run"]["step"] == 2 * (kill + 1)
            assert set(stored["objective"]) == {"head.weight", "offset"}
            factor = 1 if stored["run"]["step"] <= 6 else 0.1
            rates = [group["lr"] for group in stored["optimizer"]["param_groups"]]
            assert rates == [1e-3 * factor, 1e-3 * factor, 0.5 * factor]
    train(config, tmp_path)
    for name in ("end.safetensors", "best.safetensors", "history.csv"):
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()
    assert not (tmp_path / "state").exists()


def test_the_head_is_published_and_the_history_has_its_columns(undisturbed):
    end = load_file(undisturbed / "end.safetensors")
    assert set(end) == {"head.weight", "offset"}
    history = pd.read_csv(undisturbed / "history.csv", float_precision="round_trip")
    assert history["step"].tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert history["offset"].iloc[-1] == end["offset"].item() <= 6
    assert history["error"].iloc[-1] < history["error"].iloc[0]
    assert history["learning_rate"].dropna().tolist() == [1e-3] * 3 + [1e-4] * 3


def test_the_lowest_error_is_the_best(config, tmp_path):
    """The earliest of equals, and not the model before its training."""
    errors = iter([0.1, 0.5, 0.3, 0.4, 0.3, 0.2, 0.6])
    assert train(config, tmp_path, errors=errors) == {"end": 12, "error": 10}


def test_patience_waits_for_a_lower_error(config, tmp_path):
    errors = iter([0.6, 0.3, 0.4, 0.3, 0.2])
    assert train(config, tmp_path, errors=errors, patience=2) == {"end": 6, "error": 2}


@pytest.mark.parametrize("name", ["adamw", "radam"])
def test_each_group_has_its_rate_and_decay(name):
    objective = Regression(3)
    objective.setup(Fabric(accelerator="cpu", devices=1))
    settings = OptimizerSettings(name, 1e-3, (0.9, 0.98), 1e-6, 0.2)
    head, gains, offset = make_optimizer(objective.groups(), settings).param_groups
    assert (head["lr"], head["weight_decay"], gains["params"]) == (1e-3, 0.2, [])
    assert (offset["lr"], offset["weight_decay"]) == (0.5, 0.0)
    assert offset["params"][0] is objective.offset


def test_radam_decays_the_parameters_and_not_the_gradient():
    """Without a gradient a step shrinks a matrix by the rate times the decay, as AdamW does."""
    ends = []
    for name in ("adamw", "radam"):
        matrix = torch.nn.Parameter(torch.ones(2, 2))
        settings = OptimizerSettings(name, 0.1, (0.9, 0.98), 1e-6, 0.2)
        optimizer = make_optimizer([{"params": [matrix]}], settings)
        matrix.grad = torch.zeros_like(matrix)
        optimizer.step()
        ends.append(matrix.detach())
    assert torch.equal(*ends)
    torch.testing.assert_close(ends[0], torch.full((2, 2), 0.98))
