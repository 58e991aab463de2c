"""Losses over K ordered concepts, of which a farther one is more wrong."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORMS = ("plain", "exp", "logit", "margin")
NORMALISERS = ("mean_one", "sum_one", "as_released")


def distances(positions: Tensor) -> Tensor:
    """|p_i - p_k| of K positions, (K, K): indices of the concepts, or values such as midpoints."""
    return (positions[:, None] - positions[None]).abs()


def ordinal_weights(distance: Tensor, positive: Tensor, normaliser: str, n_concepts: int) -> Tensor:
    """Weights (n, m) of the logits of n queries: 1 for positives, else proportional to `distance`.

    normaliser: `mean_one` and `sum_one` fix the mean and the sum of a query's negative weights.
        `as_released` makes the sum K - 1, however many negatives there are. From image to text
        that is `mean_one`. From text to image it grows no weaker with the batch, so that most
        weights nearly vanish.

    A query without negatives, such as a batch of one concept, has weights of 1.
    """
    if normaliser not in NORMALISERS:
        raise ValueError(f"unknown normaliser {normaliser!r}; use {', '.join(NORMALISERS)}")
    negative = distance.masked_fill(positive, 0.0)
    sums = {
        "mean_one": (~positive).sum(1, keepdim=True).to(distance.dtype),
        "sum_one": torch.ones_like(distance[:, :1]),
        "as_released": torch.full_like(distance[:, :1], n_concepts - 1),
    }
    total = negative.sum(1, keepdim=True)
    weights = negative * sums[normaliser] / total.where(total > 0, 1.0)
    return weights.masked_fill(positive | (total == 0), 1.0)


class OrdinalCrossEntropy(nn.Module):
    """Cross entropy of images' true concepts among K, negatives by their distance: NumCLIP's FCRC
    from image to text (Du et al., 2024).

    positions: (K,) of the concepts, between which distances are measured.
    form: `plain`, no distance at all. `exp`: a negative's exponential times its weight, as the
        paper's figure and a later paper (YearCLIP) state it. `logit`: its logit times its weight,
        as its code has it. `margin`: `margin`, in units of the logits, is added at the largest
        distance, and its share at a smaller one.
    normaliser: of the weights (`ordinal_weights`).
    """

    def __init__(
        self,
        positions: Tensor,
        form: str = "exp",
        normaliser: str = "mean_one",
        margin: float = 0.0,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"unknown form {form!r} of FCRC; use {', '.join(FORMS)}")
        self.form, self.normaliser, self.margin = form, normaliser, margin
        self.register_buffer("distances", distances(positions), persistent=False)

    def forward(self, logits: Tensor, bins: Tensor, reduction: str = "mean") -> Tensor:
        """logits: (B, K). bins: int64 (B,), the true concepts. reduction: of `F.cross_entropy`."""
        positive = F.one_hot(bins, logits.shape[1]).bool()
        shifted = self.shifted(logits, self.distances[bins], positive)
        return F.cross_entropy(shifted, bins, reduction=reduction)

    def shifted(self, logits: Tensor, distance: Tensor, positive: Tensor) -> Tensor:
        """The logits of negatives moved by their distance; all are (n, m)."""
        distance = distance.to(logits)
        if self.form == "plain":
            return logits
        if self.form == "margin":
            return logits + self.margin * distance / self.distances.max()
        weights = ordinal_weights(distance, positive, self.normaliser, len(self.distances))
        return logits * weights if self.form == "logit" else logits + weights.log()


def sord(
    logits: Tensor,
    bins: Tensor,
    distance: Tensor,
    sharpness: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy against soft labels softmax(-sharpness * distance), SORD (Diaz and Marathe,
    2019). distance: (K, K). reduction: of `F.cross_entropy`."""
    target = F.softmax(-sharpness * distance[bins].to(logits), dim=1)
    return F.cross_entropy(logits, target, reduction=reduction)
