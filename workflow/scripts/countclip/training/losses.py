"""Losses and criteria over embeddings, with one shape convention.

A criterion maps (image, text, batch, logit scale), the embeddings of a whole batch as `Batch`
orders them, to the parts of the loss by name and their sum, `loss`.

In a loss `image` is (batch, d), `text` is (batch, d), both L2-normalised. A counting loss takes the
N counting pairs: `image` (N, d), `captions` (N, 1 + K, d) with the true caption first and its K
counterfactuals after it, and `lambdas` (N,), the weight of each pair. All reductions are float32
or wider, whatever autocast does around them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from countclip.training.batches import Batch


class ClipLoss(nn.Module):
    """The symmetric contrastive loss of CLIP (Radford et al., 2021) over the pairs of a batch.

    rows: how many rows of the (batch, batch) similarities are held at a time; None holds them all,
        4 GB each of several times for a batch of 32,768.
    """

    def __init__(self, rows: int | None = None) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
        image, text, scale = map(_at_least_float32, (image, text, logit_scale))
        target = torch.arange(len(image), device=image.device)
        if self.rows is None:
            logits = scale * (image @ text.T)
            return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        total = image.new_zeros(())
        for one, other in ((image, text), (text, image)):
            for part, true in zip(one.split(self.rows), target.split(self.rows), strict=True):
                total = total + checkpoint(_entropy, part, other, scale, true, use_reentrant=False)
        return total / (2 * len(image))


def _entropy(part: Tensor, other: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(scale * (part @ other.T), target, reduction="sum")


class CountLoss(nn.Module):
    """The counting losses of CountCLIP: L_count (Eq. 2) with K = 1, L_count+ (Eq. 7) with K = 8;
    each pair's times its lambda, and the mean of these.

    Both are the cross entropy of the true caption among 1 + K, so one class serves. With the
    paper's form (`logit_scale` None) cosines enter the softmax as they are: the loss then lies near
    ln(1 + K) and its gradient is weak; a scale sharpens it.
    """

    def __init__(self, logit_scale: float | None = None) -> None:
        super().__init__()
        self.logit_scale = 1.0 if logit_scale is None else float(logit_scale)

    def forward(self, image: Tensor, captions: Tensor, lambdas: Tensor) -> Tensor:
        similarity = torch.einsum(
            "nd,nkd->nk", _at_least_float32(image), _at_least_float32(captions)
        )
        log_probability = F.log_softmax(self.logit_scale * similarity, dim=1)[:, 0]
        return -(lambdas * log_probability).mean()


class CountClipLoss(nn.Module):
    """The criterion of CountCLIP: L = L_CLIP + lambda L_count (Eq. 1).

    The images and captions of the whole batch make L_CLIP; the counterfactuals of its N counting
    pairs enter L_count alone (section 2.2 of the paper). `loss_count` is that with the lambdas.

    count_logit_scale: of `CountLoss`. rows: of `ClipLoss`.
    """

    def __init__(self, count_logit_scale: float | None = None, rows: int | None = None) -> None:
        super().__init__()
        self.clip_loss = ClipLoss(rows)
        self.count_loss = CountLoss(count_logit_scale)

    def forward(
        self, image: Tensor, text: Tensor, batch: Batch, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """image: (B, d). text: (B + N K, d), captions and then counterfactuals."""
        size, n = len(image), len(batch.lambdas)
        losses = {"loss_clip": self.clip_loss(image, text[:size], logit_scale)}
        losses["loss_count"] = losses["loss_clip"].new_zeros(())
        if len(text) > size:
            counterfactuals = text[size:].reshape(n, -1, text.shape[1])
            captions = torch.cat([text[:n, None], counterfactuals], dim=1)
            lambdas = batch.lambdas.to(image.device)
            losses["loss_count"] = self.count_loss(image[:n], captions, lambdas)
        losses["loss"] = losses["loss_clip"] + losses["loss_count"]
        return losses


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
