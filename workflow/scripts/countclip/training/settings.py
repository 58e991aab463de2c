"""Settings of a training: its optimizer, its schedule, its run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OptimizerSettings:
    """How a step moves the parameters (`optim.make_optimizer`).

    name: `adam`, L2 inside the gradient, on everything, as CountCLIP published it; `adamw` and
        `radam`, decoupled decay, and none on gains, biases and scales.
    learning_rate: the highest one, of all groups of parameters that name no other.
    betas, epsilon: of Adam, under all three names.
    """

    name: str
    learning_rate: float
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float


@dataclass(frozen=True)
class ScheduleSettings:
    """The course of the learning rates over the `steps` of a training (`optim.rate_multiplier`).

    name: `none`, 1 throughout. `cosine`, from 1 to 0. `warmup_cosine`, linear to 1 over the first
        half and cosine to 0 over the second, as CountCLIP's text has it. `as_run`, what its code
        did: a ramp of five steps from 1/3, then cosine restarts of five steps for ever (mean about
        0.6). `step`, times `decay_factor` at each share of the steps in `decay_at`.
    """

    name: str
    steps: int
    decay_at: Sequence[float] = ()
    decay_factor: float = 0.1


@dataclass(frozen=True)
class RunSettings:
    """Where and how exactly a training runs, and how it is watched (`loop.fit`).

    evaluations: how many, at even distances, the last at the end; one more precedes the first step.
    seed: of new parameters. precision, accelerator, devices: as lightning-fabric has them.
    patience: evaluations without a better value of the metric `watched` that end a run early.
    checkpoint_minutes: minutes of work that a killed run loses at most.
    loggers: of lightning-fabric, open (`loggers.open_loggers`).
    """

    evaluations: int
    seed: int
    precision: str
    accelerator: str
    devices: int = 1
    patience: int | None = None
    watched: str | None = None
    checkpoint_minutes: float = 10
    loggers: Sequence[Any] = ()


def from_config(
    *,
    optimizer: str,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
    schedule: str,
    steps: int,
    decay_at: Sequence[float] = (),
    decay_factor: float = 0.1,
    **run: Any,
) -> dict[str, Any]:
    """The three settings of `loop.fit` under its names, from the keys of a section of the config.
    TypeError for a key that none of them has."""
    return {
        "optimizer": OptimizerSettings(
            optimizer, learning_rate, tuple(betas), epsilon, weight_decay
        ),
        "schedule": ScheduleSettings(schedule, steps, tuple(decay_at), decay_factor),
        "run": RunSettings(**run),
    }
