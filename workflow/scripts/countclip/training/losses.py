"""Losses and criteria over embeddings, with one shape convention.

A criterion maps (image, text, batch, logit scale), the embeddings of a whole batch as `Batch`
orders them, to the parts of the loss by name and their sum, `loss`.

In a loss `image` is (batch, d), `text` is (batch, d), both L2-normalised. A counting loss takes the
N counting pairs: `image` (N, d), `captions` (N, 1 + K, d) with the true caption first and its K
counterfactuals after it, and `lambdas` (N,), the weight of each pair. An ordinal one also takes
`numbers` int64 (N,), what each true caption names. All reductions are float32 or wider, whatever
autocast does around them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from countclip.data.number_words import NUMBERS
from countclip.model.concepts import ConceptHead, concepts_of
from countclip.training.batches import Batch
from countclip.training.ordinal_losses import OrdinalCrossEntropy, sord

MARGIN = 0.1
"""Of the form `margin` in counting, in units of cosine: between two and ten."""


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

    def of_batch(
        self, image: Tensor, text: Tensor, batch: Batch, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """The loss by its name; of soft targets also what they are (soft_targets.py)."""
        return {"loss_clip": self(image, text, logit_scale)}


class SigmoidLoss(ClipLoss):
    """The loss of SigLIP (Zhai et al., 2023, arXiv:2303.15343, Algorithm 1): each image and text of
    a batch is a pair that is right or wrong by itself. Summed over all, per image.

    model: whose `logit_bias` it adds to the logits; it stays the model's parameter. rows: of
    `ClipLoss`.
    """

    def __init__(self, model: nn.Module, rows: int | None = None) -> None:
        super().__init__(rows)
        self._bias = lambda: model.logit_bias  # as a submodule it would be trained twice

    def forward(self, image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
        image, text, scale = map(_at_least_float32, (image, text, logit_scale))
        bias = _at_least_float32(self._bias())
        if self.rows is None:
            return _of_pairs(image, text, scale, bias, 0) / len(image)
        total = image.new_zeros(())
        for start in range(0, len(image), self.rows):
            part = image[start : start + self.rows]
            total = total + checkpoint(
                _of_pairs, part, text, scale, bias, start, use_reentrant=False
            )
        return total / len(image)


def _of_pairs(part: Tensor, text: Tensor, scale: Tensor, bias: Tensor, first: int) -> Tensor:
    """Sum over the pairs of some images, from row `first` on, and all texts."""
    logits = scale * (part @ text.T) + bias
    right = torch.arange(len(part), device=part.device)
    signs = torch.full_like(logits, -1.0)
    signs[right, first + right] = 1.0
    return -F.logsigmoid(signs * logits).sum()


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
        losses = self.clip_loss.of_batch(image, text[:size], batch, logit_scale)
        losses["loss_count"] = losses["loss_clip"].new_zeros(())
        if len(text) > size:
            counterfactuals = text[size:].reshape(n, -1, text.shape[1])
            captions = torch.cat([text[:n, None], counterfactuals], dim=1)
            losses["loss_count"] = self.counting(image[:n], captions, batch)
        losses["loss"] = losses["loss_clip"] + losses["loss_count"]
        return losses

    def counting(self, image: Tensor, captions: Tensor, batch: Batch) -> Tensor:
        """The counting loss of the N counting pairs: image (N, d), captions (N, 1 + K, d)."""
        return self.count_loss(image, captions, batch.lambdas.to(image.device))


class OrdinalClipLoss(CountClipLoss):
    """The criterion of CountCLIP with a counting loss that also takes the pairs' numbers."""

    def __init__(self, count_loss: nn.Module, rows: int | None = None) -> None:
        super().__init__(rows=rows)
        self.count_loss = count_loss

    def counting(self, image: Tensor, captions: Tensor, batch: Batch) -> Tensor:
        lambdas, numbers = (part.to(image.device) for part in (batch.lambdas, batch.labels))
        return self.count_loss(image, captions, lambdas, numbers[: len(image)])


class NineWordsLoss(nn.Module):
    """A counting loss over all nine captions, where a number that is farther off is more wrong.

    name: `ordinal_exp`, `ordinal_logit` or `ordinal_margin` (`OrdinalCrossEntropy`), or `sord`.
    logit_scale: of the cosines, as `CountLoss` has it.
    """

    def __init__(self, name: str, logit_scale: float | None = None) -> None:
        super().__init__()
        self.soft = name == "sord"
        self.logit_scale = 1.0 if logit_scale is None else float(logit_scale)
        self.cross_entropy = OrdinalCrossEntropy(
            torch.arange(float(len(NUMBERS))),
            "plain" if self.soft else name.removeprefix("ordinal_"),
            margin=MARGIN * self.logit_scale,
        )

    def forward(self, image: Tensor, captions: Tensor, lambdas: Tensor, numbers: Tensor) -> Tensor:
        """captions: (N, 9, d), the true one first and then the others, from two to ten."""
        logits = self.logit_scale * torch.einsum(
            "nd,nkd->nk", _at_least_float32(image), _at_least_float32(captions)
        )
        classes = numbers - NUMBERS[0]
        logits = _from_two_to_ten(logits, classes)
        if self.soft:
            each = sord(logits, classes, self.cross_entropy.distances, reduction="none")
        else:
            each = self.cross_entropy(logits, classes, reduction="none")
        return (lambdas * each).mean()


def _from_two_to_ten(of_captions: Tensor, classes: Tensor) -> Tensor:
    """(N, K) in the order of the classes, from those with the true class first."""
    order, true = torch.arange(of_captions.shape[1], device=classes.device), classes[:, None]
    places = torch.where(order < true, order + 1, order).masked_fill(order == true, 0)
    return of_captions.gather(1, places)


class CoarseToFineLoss(nn.Module):
    """NumCLIP's two stages on counting: FCRC over the concepts, and the error of a head's count.

    The concepts are those of `model/concepts.py`, FCRC's form is `exp`, and the weights of both
    losses are 1. Nothing here compares the nine captions. logit_scale: as `CountLoss` has it.
    """

    def __init__(self, logit_scale: float | None = None) -> None:
        super().__init__()
        self.head = ConceptHead(1.0 if logit_scale is None else float(logit_scale))
        self.cross_entropy = OrdinalCrossEntropy(torch.arange(float(len(self.head.values))), "exp")

    def forward(self, image: Tensor, captions: Tensor, lambdas: Tensor, numbers: Tensor) -> Tensor:
        """captions: (N, 1 + 4, d), the true one, which is not used, and then the concepts'."""
        logits = self.head.logits(_at_least_float32(image), _at_least_float32(captions[:, 1:]))
        coarse = self.cross_entropy(logits, concepts_of(numbers), reduction="none")
        fine = (self.head(logits) - numbers).abs()
        return (lambdas * (coarse + fine)).mean()


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
