"""Heads that give a value from the logits of K ordered concepts.

All compute in float32 even under autocast, which would round values and leave a tanh at its limits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Expectation(nn.Module):
    """The expected value (n,) of values (K,) under softmax(logits), (n, K). No parameters."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(values).float(), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.to(self.values)
            return (logits.softmax(1) * self.shifted(logits)).sum(1)

    def shifted(self, logits: Tensor) -> Tensor:
        """The value of each concept, (K,) or, moved by the logits, (n, K)."""
        return self.values


class Regressor(Expectation):
    """An expectation whose values move with the logits; it begins as the plain one, nearly.

    The layers K -> 2K -> K, weights of N(0, 0.001^2) and biases of 0 are as released.
    """

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__(values)
        k = len(values)
        self.layers = nn.Sequential(nn.Linear(k, 2 * k), nn.ReLU(), nn.Linear(2 * k, k), nn.Tanh())
        for layer in self.layers[0], self.layers[2]:
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)


class BoundedHead(Regressor):
    """Values c_k + h_k tanh(...), where bin k has midpoint c_k and half width h_k.

    No pole, every bin reaches its whole range, and no value lies outside the bins.
    """

    def __init__(self, midpoints: Sequence[float], half_widths: Sequence[float]) -> None:
        super().__init__(midpoints)
        self.register_buffer("half_widths", torch.tensor(half_widths).float(), persistent=False)

    def shifted(self, logits: Tensor) -> Tensor:
        return self.values + self.half_widths * self.layers(logits)
