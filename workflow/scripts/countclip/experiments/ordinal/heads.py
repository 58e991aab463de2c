"""Parts that NumCLIP adds to a CLIP: an adapter of image embeddings, and its head as released.

All compute in float32 even under autocast: in half precision a head's tanh reaches -1, its pole.
"""

import torch
from torch import Tensor, nn

from countclip.model.heads import Regressor

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


class RatioHead(Regressor):
    """Values b_k / (1 + d_k) with d = tanh(...), as released: from half of b_k to anything.

    A value of 0, such as the first bin's start, never moves. 1 + d_k is at least
    `SMALLEST_DIVISOR`.
    """

    def shifted(self, logits: Tensor) -> Tensor:
        return self.values / (1 + self.layers(logits)).clamp(min=SMALLEST_DIVISOR)
