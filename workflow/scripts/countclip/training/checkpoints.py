"""Checkpoints: published weights, and the state that a killed run resumes from."""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from countclip.runtime.files import publish, write_text
from countclip.training import trainable

log = logging.getLogger(__name__)


def save(module: nn.Module, path: str | Path, metadata: dict[str, Any]) -> None:
    """Publish the weights of `module` as safetensors; `metadata` (model name, digest, step...) is
    the JSON `about` of the file's header."""
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in trainable.state_dict(module).items()
    }
    with publish(path) as temporary:
        temporary.write_bytes(to_bytes(state, {"about": json.dumps(metadata, sort_keys=True)}))


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what a model computes."""
    names = ("torch", "open_clip_torch", "lightning-fabric", "safetensors", "numpy")
    return {name: version(name) for name in names}


@dataclass(frozen=True)
class Metric:
    """A metric of the evaluations, and where the weights go at the point where it was best."""

    name: str
    path: str
    better: Literal["higher", "lower"] = "higher"

    def height(self, row: dict[str, float]) -> float:
        """The metric in a row of the history, with the sign that makes the highest the best."""
        return row[self.name] if self.better == "higher" else -row[self.name]


@dataclass(frozen=True)
class Outputs:
    """Files that a training publishes: the history as CSV, the last weights (`end`), and those at
    the best point of each metric, the earliest of equals."""

    history: str
    end: str
    best: tuple[Metric, ...] = ()


@dataclass
class Run:
    """The state of a training beside its objective and optimizer.

    step: steps done. history: a row an evaluation. best: metric -> step at which it was best.
    sums: of each loss over the `since` steps after the last evaluation. No random state: all
    chance is a function of the seed and the step.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, int] = field(default_factory=dict)
    sums: dict[str, Tensor] = field(default_factory=dict)
    since: int = 0

    def count(self, losses: dict[str, Tensor]) -> None:
        """One more step, with these losses."""
        self.step += 1
        self.since += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value

    def row(self, steps_per_epoch: int, rate: float) -> dict[str, float]:
        """The beginning of a row of the history: where the training stands, and the mean losses
        since the last row. FloatingPointError where they are no numbers any more."""
        means = {name: float(value) / self.since for name, value in self.sums.items()}
        self.sums, self.since = {}, 0
        if not math.isfinite(means["loss"]):
            raise FloatingPointError(
                f"the loss is {means['loss']} by step {self.step};"
                " lower training.learning_rate or use precision 32-true"
            )
        epoch = self.step / steps_per_epoch
        return {"step": self.step, "epoch": epoch, **means, "learning_rate": rate}

    def enter(self, row: dict[str, float], metrics: Iterable[Metric]) -> list[Metric]:
        """Add an evaluation's row; returns which of `metrics` are better than at any before it. The
        first row, the model before training, is no candidate."""
        earlier = self.history[1:]
        better = [
            metric
            for metric in metrics
            if all(metric.height(row) > metric.height(other) for other in earlier)
        ]
        self.best |= {metric.name: self.step for metric in better}
        self.history.append(row)
        return better

    def write_history(self, path: str) -> None:
        # The first row has no losses, so the order of columns is the last one's.
        columns = dict.fromkeys(name for row in self.history[::-1] for name in row)
        table = pd.DataFrame(self.history, columns=list(columns))
        write_text(table.to_csv(index=False, lineterminator="\n"), path)

    def save(self, path: Path, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        with publish(path) as temporary:
            torch.save(
                {
                    "versions": versions(),
                    "run": vars(self),
                    "objective": objective.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
                temporary,
            )

    @classmethod
    def load(
        cls,
        path: Path,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> "Run":
        """The run that was saved, its parameters put in place; a new one where there is none, or
        where other libraries computed it: half of each would be no run that anyone can repeat."""
        if not path.exists():
            return cls()
        stored = torch.load(path, map_location=device, weights_only=True)
        if stored["versions"] != versions():
            log.warning("%s is of other libraries, %s: starting anew", path, stored["versions"])
            return cls()
        objective.load_state_dict(stored["objective"])
        optimizer.load_state_dict(stored["optimizer"])
        return cls(**stored["run"])
