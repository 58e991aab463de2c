"""WiSE-FT (Wortsman et al., 2022): weights between the pretrained and the fine-tuned ones."""

import torch
from torch import Tensor


def interpolate(
    base: dict[str, Tensor], tuned: dict[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    """The weights (1 - alpha) base + alpha tuned (Eq. 1): bit for bit `base` at 0, `tuned` at 1."""
    return {
        name: torch.lerp(base[name], tuned[name], alpha) if tuned[name].is_floating_point()
        else tuned[name]
        for name in base
    }  # fmt: skip
