"""Checkpoints: published weights, and the state that a killed run resumes from."""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from countclip.runtime.files import publish, write_text
from countclip.training import trainable

log = logging.getLogger(__name__)


def save(model: torch.nn.Module, path: str | Path, about: dict[str, Any]) -> None:
    """Publish the weights as safetensors; `about` (model name, digest, step...) is metadata."""
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in trainable.state_dict(model).items()
    }
    with publish(path) as temporary:
        temporary.write_bytes(to_bytes(state, {"about": json.dumps(about, sort_keys=True)}))


def versions() -> dict[str, str]:
    """Of the libraries that decide what a model computes."""
    names = ("torch", "open_clip_torch", "lightning-fabric", "safetensors", "numpy")
    return {name: metadata.version(name) for name in names}


@dataclass
class Run:
    """Where a training run stands, besides the weights: what its end follows from.

    step: steps done. history: a row an evaluation. best: metric -> step at which it was highest.
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

    def row(self, model: nn.Module, rate: float, steps_per_epoch: int) -> dict[str, float]:
        """A row of the history without its metrics: the mean losses since the last one, and where
        the training stands. FloatingPointError: they are no numbers any more."""
        means = {name: float(value) / self.since for name, value in self.sums.items()}
        self.sums, self.since = {}, 0
        if not math.isfinite(means["loss"]):
            raise FloatingPointError(
                f"the loss is {means['loss']} by step {self.step};"
                " lower training.learning_rate or use precision 32-true"
            )
        return {
            "step": self.step,
            "epoch": round(self.step / steps_per_epoch, 4),
            **means,
            "learning_rate": rate,
            "logit_scale": model.logit_scale.exp().item(),
        }

    def enter(self, row: dict[str, float], metrics: Iterable[str]) -> list[str]:
        """Add an evaluation's row; returns which of `metrics` are higher than at any before it. The
        untouched model, the first row, is no candidate."""
        earlier = self.history[1:]
        risen = [name for name in metrics if all(row[name] > other[name] for other in earlier)]
        self.best |= dict.fromkeys(risen, self.step)
        self.history.append(row)
        return risen

    def write_history(self, path: str) -> None:
        # The first row has no losses, so the order of columns is the last one's.
        columns = dict.fromkeys(name for row in self.history[::-1] for name in row)
        table = pd.DataFrame(self.history, columns=list(columns))
        write_text(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"), path)

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        with publish(path) as temporary:
            torch.save(
                {
                    "versions": versions(),
                    "run": vars(self),
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
                temporary,
            )

    @classmethod
    def load(
        cls, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
    ) -> "Run":
        """The run that was saved, its weights put in place; a new one where there is none, or
        where other libraries computed it: half of each would be no run that anyone can repeat."""
        if not path.exists():
            return cls()
        kept = torch.load(path, map_location=device, weights_only=True)
        if kept["versions"] != versions():
            log.warning("%s is of other libraries, %s: starting anew", path, kept["versions"])
            return cls()
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        return cls(**kept["run"])
