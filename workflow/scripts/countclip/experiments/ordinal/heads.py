"""Parts that NumCLIP adds to a CLIP: an adapter of image embeddings, and heads that give a value.

All compute in float32 even under autocast: in half precision a head's tanh reaches -1, its pole.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SMALLEST_DIVISOR = 0.1
"""Of the ratio head; the released code has no limit, and divides by zero."""


class Adapter(nn.Module):
    """0.8 ReLU(W2 ReLU(W1 z)) + 0.2 z of image embeddings z (n, d), before their normalisation.

    As released, with no biases and torch's initialisation. So an adapted model begins away from
    its CLIP.
    """

    def __init__(self, d: int, share: float = 0.8) -> None:
        super().__init__()
        self.share = share
        self.layers = nn.Sequential(
            nn.Linear(d, d // 4, bias=False),
            nn.ReLU(),
            nn.Linear(d // 4, d, bias=False),
            nn.ReLU(),
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.to(self.layers[0].weight)
            return self.share * self.layers(embeddings) + (1 - self.share) * embeddings


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


class RatioHead(Regressor):
    """Values b_k / (1 + d_k) with d = tanh(...), as released: from half of b_k to anything.

    A value of 0, such as the first bin's start, never moves. 1 + d_k is at least
    `SMALLEST_DIVISOR`.
    """

    def shifted(self, logits: Tensor) -> Tensor:
        return self.values / (1 + self.layers(logits)).clamp(min=SMALLEST_DIVISOR)


class BoundedHead(Regressor):
    """Values c_k + h_k tanh(...), where bin k has midpoint c_k and half width h_k.

    No pole, every bin reaches its whole range, and no value lies outside the bins.
    """

    def __init__(self, midpoints: Sequence[float], half_widths: Sequence[float]) -> None:
        super().__init__(midpoints)
        self.register_buffer("half_widths", torch.tensor(half_widths).float(), persistent=False)

    def shifted(self, logits: Tensor) -> Tensor:
        return self.values + self.half_widths * self.layers(logits)
