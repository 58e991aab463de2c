"""Losses over the scaled similarities of images and K ordered concepts, and over predicted values.

`logits` are (B, K): logit scale times cosine. `bins` are int64 (B,), the concept of each image.
Every loss is a mean over images or concepts, so that losses add up with weight 1.

FCRC is the fine-grained cross-modal ranking loss of NumCLIP (Du et al., 2024), where a concept that
is farther from the true one weighs more. Its paper prints the form `exp`; its code has `logit`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORMS = ("plain", "exp", "logit", "margin")
NORMALISERS = ("mean_one", "sum_one", "as_released")

TARGET_LOGIT = 10.0
"""Of an image in the target of its own concept (text to image), as OrdinalCLIP published it."""


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


class Fcrc(nn.Module):
    """FCRC of B images and K concepts, from image to text and from text to image.

    positions: (K,) of the concepts, between which distances are measured.
    form: `plain`, no distance at all: cross entropy, and OrdinalCLIP's KL. `exp`: a negative's
        exponential times its weight. `logit`: its logit times its weight. `margin`: `margin`,
        in units of the logits, is added at the largest distance, and its share at a smaller one.
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

    def image_to_text(self, logits: Tensor, bins: Tensor) -> Tensor:
        """Cross entropy of each image's concept among all K, negatives by their distance."""
        positive = F.one_hot(bins, logits.shape[1]).bool()
        return F.cross_entropy(self._shifted(logits, self.distances[bins], positive), bins)

    def text_to_image(self, logits: Tensor, bins: Tensor) -> Tensor:
        """KL divergence of each concept's images in the batch, the mean over concepts with any.

        The target of a concept is a softmax over the batch, with `TARGET_LOGIT` for its images.
        """
        present = bins.unique()
        logits = logits[:, present].T
        positive = present[:, None] == bins[None]
        target = F.log_softmax(TARGET_LOGIT * positive.to(logits.dtype), dim=1)
        shifted = self._shifted(logits, self.distances[present][:, bins], positive)
        predicted = F.log_softmax(shifted, dim=1)
        return F.kl_div(predicted, target, reduction="batchmean", log_target=True)

    def _shifted(self, logits: Tensor, distance: Tensor, positive: Tensor) -> Tensor:
        """The logits of negatives moved by their distance."""
        distance = distance.to(logits)
        if self.form == "plain":
            return logits
        if self.form == "margin":
            return logits + self.margin * distance / self.distances.max()
        weights = ordinal_weights(distance, positive, self.normaliser, len(self.distances))
        return logits * weights if self.form == "logit" else logits + weights.log()


def absolute_error(predicted: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute error of predicted values (B,), the L1 loss of NumCLIP's fine stage."""
    return F.l1_loss(predicted, labels.to(predicted))


def sord(logits: Tensor, bins: Tensor, distance: Tensor, sharpness: float = 1.0) -> Tensor:
    """Cross entropy against soft labels softmax(-sharpness * distance), SORD (Diaz and Marathe,
    2019). distance: (K, K)."""
    return F.cross_entropy(logits, F.softmax(-sharpness * distance[bins].to(logits), dim=1))


def squared_emd(logits: Tensor, bins: Tensor) -> Tensor:
    """Squared differences of cumulative probabilities, summed: the ranked probability score."""
    true = F.one_hot(bins, logits.shape[1]).to(logits)
    gaps = logits.softmax(1).cumsum(1) - true.cumsum(1)
    return gaps.square().sum(1).mean()
