"""Optimizers and learning-rate schedules."""

import math
from typing import Any

import torch
from torch import nn

SCHEDULES = ("none", "warmup_cosine", "as_run", "cosine")


def rate_multiplier(schedule: str, step: int, steps: int) -> float:
    """The multiplier of the learning rate at `step` (from 0) of `steps`.

    none: 1. cosine: 1 to 0. warmup_cosine: linear to 1 over the first half, cosine to 0 over the
    second, as CountCLIP's text has it. as_run: what its code did, a ramp of five steps from 1/3 and
    then cosine restarts of five steps for ever (mean about 0.6).
    """
    if schedule == "none":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    if schedule == "warmup_cosine":
        half = max(1, steps // 2)
        if step < half:
            return (step + 1) / half
        return 0.5 * (1 + math.cos(math.pi * (step - half) / max(1, steps - half)))
    if schedule == "as_run":
        if step < 5:
            return 1 / 3 + 2 / 3 * step / 5
        return 0.5 * (1 + math.cos(math.pi * ((step - 4) % 5) / 5))
    raise ValueError(f"unknown schedule {schedule!r}; use one of {', '.join(SCHEDULES)}")


def make_optimizer(
    model: nn.Module,
    name: str,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """`adam`: L2 inside the gradient, on everything, as published. `adamw`: decoupled decay, and
    none on gains, biases and the logit scale."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    arguments: dict[str, Any] = {
        "lr": learning_rate, "betas": tuple(betas), "eps": epsilon, "fused": True,
    }  # fmt: skip
    if name == "adam":
        return torch.optim.Adam(trainable, weight_decay=weight_decay, **arguments)
    if name == "adamw":
        groups = [
            {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, **arguments)
    raise ValueError(f"unknown optimizer {name!r}; use adam or adamw")
