"""Losses over the scaled similarities of images and K ordered concepts, and over predicted values.

`logits` are (B, K): logit scale times cosine. `bins` are int64 (B,), the concept of each image.
Every loss is a mean over images or concepts, so that losses add up with weight 1.

FCRC is the fine-grained cross-modal ranking loss of NumCLIP (Du et al., 2024), where a concept that
is farther from the true one weighs more. Its figure and a later paper (YearCLIP) state the form
`exp`; its code has `logit`.
What counting uses too, from image to text and SORD, is in `training/ordinal_losses.py`.
"""

import torch.nn.functional as F
from torch import Tensor

from countclip.training.ordinal_losses import OrdinalCrossEntropy

TARGET_LOGIT = 10.0
"""Of an image in the target of its own concept (text to image), as OrdinalCLIP published it."""


class Fcrc(OrdinalCrossEntropy):
    """FCRC of B images and K concepts, from image to text and from text to image.

    Its parameters are those of the cross entropy that it is from image to text. Under the form
    `plain` it is OrdinalCLIP's KL from text to image.
    """

    def image_to_text(self, logits: Tensor, bins: Tensor) -> Tensor:
        """Cross entropy of each image's concept among all K, negatives by their distance."""
        return self(logits, bins)

    def text_to_image(self, logits: Tensor, bins: Tensor) -> Tensor:
        """KL divergence of each concept's images in the batch, the mean over concepts with any.

        The target of a concept is a softmax over the batch, with `TARGET_LOGIT` for its images.
        """
        present = bins.unique()
        logits = logits[:, present].T
        positive = present[:, None] == bins[None]
        target = F.log_softmax(TARGET_LOGIT * positive.to(logits.dtype), dim=1)
        shifted = self.shifted(logits, self.distances[present][:, bins], positive)
        predicted = F.log_softmax(shifted, dim=1)
        return F.kl_div(predicted, target, reduction="batchmean", log_target=True)


def absolute_error(predicted: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute error of predicted values (B,), the L1 loss of NumCLIP's fine stage."""
    return F.l1_loss(predicted, labels.to(predicted))


def squared_emd(logits: Tensor, bins: Tensor) -> Tensor:
    """Squared differences of cumulative probabilities, summed: the ranked probability score."""
    true = F.one_hot(bins, logits.shape[1]).to(logits)
    gaps = logits.softmax(1).cumsum(1) - true.cumsum(1)
    return gaps.square().sum(1).mean()
