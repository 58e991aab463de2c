"""The contrastive loss for batches in which some wrong pairs are right."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from countclip.training.losses import ClipLoss

TREATMENTS = ("negatives", "masked", "positives")


class MaskedClipLoss(ClipLoss):
    """The symmetric contrastive loss of CLIP, with another treatment of false negatives.

    treatment: `negatives` takes them for wrong, as `ClipLoss` does. `masked` leaves them out of the
        denominators. `positives` takes them for as right as the true pair: the mean of their
        negative log probabilities (SupCon's L_out; Khosla et al., 2020).
    rows: as in `ClipLoss`.
    """

    def __init__(self, treatment: str = "masked", rows: int | None = None) -> None:
        super().__init__(rows)
        if treatment not in TREATMENTS:
            raise ValueError(
                f"treatment of false negatives {treatment!r}: must be one of"
                f" {', '.join(TREATMENTS)}"
            )
        self.treatment = treatment

    def forward(
        self, image: Tensor, text: Tensor, logit_scale: Tensor, false_negatives: Tensor
    ) -> Tensor:
        """false_negatives: bool (batch, batch), images by texts, False on the diagonal."""
        if self.treatment == "negatives" or not false_negatives.any():
            return super().forward(image, text, logit_scale)
        image, text, scale = (
            tensor.to(torch.promote_types(tensor.dtype, torch.float32))
            for tensor in (image, text, logit_scale)
        )
        size, also = len(image), false_negatives.to(image.device)
        block = self.rows or size
        places = torch.arange(size, device=image.device)
        total = image.new_zeros(())
        for one, other, mask in ((image, text, also), (text, image, also.T)):
            for start in range(0, size, block):
                part = slice(start, start + block)
                inputs = (one[part], other, scale, mask[part], places[part])
                if self.rows is None:
                    total = total + self._sum(*inputs)
                else:
                    total = total + checkpoint(self._sum, *inputs, use_reentrant=False)
        return total / (2 * size)

    def _sum(
        self, part: Tensor, other: Tensor, scale: Tensor, also: Tensor, true: Tensor
    ) -> Tensor:
        """Sum over some rows of their losses. also: their false negatives; true: their pairs."""
        logits = scale * (part @ other.T)
        if self.treatment == "masked":
            return F.cross_entropy(logits.masked_fill(also, -torch.inf), true, reduction="sum")
        right = also.to(logits.dtype)
        right[torch.arange(len(part), device=right.device), true] = 1
        shares = right / right.sum(dim=1, keepdim=True)
        return F.cross_entropy(logits, shares, reduction="sum")
