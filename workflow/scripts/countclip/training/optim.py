"""Optimizers and learning-rate schedules."""

import math
from collections.abc import Iterable
from typing import Any

import torch

from countclip.training.settings import OptimizerSettings, ScheduleSettings


def rate_multiplier(schedule: ScheduleSettings, step: int) -> float:
    """Factor on the learning rates at `step`, counted from 0."""
    steps = schedule.steps
    if schedule.name == "none":
        return 1.0
    if schedule.name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    if schedule.name == "warmup_cosine":
        half = max(1, steps // 2)
        if step < half:
            return (step + 1) / half
        return 0.5 * (1 + math.cos(math.pi * (step - half) / max(1, steps - half)))
    if schedule.name == "as_run":
        if step < 5:
            return 1 / 3 + 2 / 3 * step / 5
        return 0.5 * (1 + math.cos(math.pi * ((step - 4) % 5) / 5))
    if schedule.name == "step":
        passed = sum(step >= round(share * steps) for share in schedule.decay_at)
        return schedule.decay_factor**passed
    raise ValueError(
        f"unknown schedule {schedule.name!r}; use none, cosine, warmup_cosine, as_run or step"
    )


def make_optimizer(
    groups: Iterable[dict[str, Any]], settings: OptimizerSettings
) -> torch.optim.Optimizer:
    """An optimizer of `groups` of parameters (`Objective.groups`).

    With decoupled decay a group that names no `weight_decay` falls in two: its matrices, which
    decay, and its gains, biases and scales, which do not.
    """
    common: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "eps": settings.epsilon,
        "weight_decay": settings.weight_decay,
    }
    if settings.name == "adam":
        return torch.optim.Adam(groups, **common, fused=True)
    split = [part for group in groups for part in _by_decay(group)]
    if settings.name == "adamw":
        return torch.optim.AdamW(split, **common, fused=True)
    if settings.name == "radam":
        return torch.optim.RAdam(split, **common, decoupled_weight_decay=True)
    raise ValueError(f"unknown optimizer {settings.name!r}; use adam, adamw or radam")


def _by_decay(group: dict[str, Any]) -> list[dict[str, Any]]:
    if "weight_decay" in group:
        return [group]
    matrices = [parameter for parameter in group["params"] if parameter.ndim >= 2]
    others = [parameter for parameter in group["params"] if parameter.ndim < 2]
    return [{**group, "params": matrices}, {**group, "params": others, "weight_decay": 0.0}]
