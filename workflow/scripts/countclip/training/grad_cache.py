"""How does a step get its gradients? The joint batch's, however it is split over memory and ranks.

A contrastive loss sees all pairs of a batch at once, so adding up the gradients of small batches is
another training. Here embeddings are computed piece by piece without their graphs, the loss of the
whole batch gives the gradient of every embedding, and each piece is then computed again and takes
its part back (gradient caching; Gao et al., 2021, arXiv:2101.06983). Several processes do the same
with the pieces that they own. Both are exact: they change rounding alone.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from countclip.model.clip import Clip, encode_image, encode_text
from countclip.training import cpu, trainable
from countclip.training.batches import Batch
from countclip.training.cpu import TokenGradient


class Objective:
    """A criterion (losses.py) of one batch, with one pass of each tower.

    micro_batch: images, and captions, that go through a tower at a time; None takes all at once.
        With it a tower that is trained runs forward twice, and memory no longer grows with the
        batch.
    """

    def __init__(
        self,
        clip: Clip,
        fabric: Fabric,
        criterion: nn.Module,
        *,
        micro_batch: int | None = None,
    ) -> None:
        by_batch = any(isinstance(module, nn.BatchNorm2d) for module in clip.model.modules())
        if by_batch and (micro_batch or fabric.world_size > 1):
            raise ValueError(
                "training.micro_batch and training.devices: this model normalises by the statistics"
                " of a batch, which no piece of it has; set them to null and 1, or use a vision"
                " transformer"
            )
        self.clip, self.fabric, self.criterion = clip, fabric, criterion
        self.micro_batch = micro_batch
        self.trained = trainable.trained(clip.model)
        with fabric.autocast():
            self.bfloat16_on_cpu = fabric.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if self.bfloat16_on_cpu:
            cpu.patches_by_product(clip.model)
        self.token_gradient = None
        if fabric.device.type == "cpu" and clip.model.token_embedding.weight.requires_grad:
            self.token_gradient = TokenGradient(clip.model)

    def backward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Give the parameters, which must have none, the gradients of a batch; return its losses,
        detached.

        seed: of what chance there is inside a tower (dropout, where a model has it). A piece that
            is computed twice must draw the same twice.
        """
        if self.token_gradient:
            self.token_gradient.prepare(batch.tokens)
        whole = self.micro_batch is None
        own = [list(self._pieces(len(part))) for part in (batch.images, batch.tokens)]
        kept, joint = [], []
        for tower, pieces in enumerate(own):
            with torch.set_grad_enabled(whole):
                parts = [self._encode(tower, batch, piece, seed) for piece in pieces]
            kept.append(parts if whole else [None] * len(parts))
            joint.append(self._gather([part.detach() for part in parts], pieces, batch, tower))
        losses = self.criterion(*joint, batch, self.clip.model.logit_scale.exp())
        losses["loss"].backward()
        for tower, pieces in enumerate(own):
            if not self.trained[tower]:
                continue
            for piece, part in zip(pieces, kept[tower], strict=True):
                if part is None:
                    part = self._encode(tower, batch, piece, seed)
                part.backward(joint[tower].grad[piece])
        self._sum_over_ranks()
        return {name: value.detach() for name, value in losses.items()}

    def _pieces(self, n: int) -> Iterator[slice]:
        """The slices of `n` rows that this process computes, one after the other."""
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        first, last = n * rank // ranks, n * (rank + 1) // ranks
        step = self.micro_batch or last - first
        for start in range(first, last, step):
            yield slice(start, min(start + step, last))

    def _encode(self, tower: int, batch: Batch, piece: slice, seed: int) -> Tensor:
        torch.manual_seed(np.random.SeedSequence([seed, tower, piece.start]).generate_state(1)[0])
        device, model = self.fabric.device, self.clip.model
        with self.fabric.autocast(), self._attention():
            if tower == 0:
                images = batch.images[piece].to(device, non_blocking=True)
                return encode_image(model, self.clip.normalise(images))
            tokens = batch.tokens[piece].to(device, non_blocking=True)
            return encode_text(model, tokens)

    def _attention(self) -> AbstractContextManager:
        """torch's fused attention for bfloat16 on CPUs has a backward pass that is slower, on the
        few tokens of CLIP, than plain matrix products."""
        if self.bfloat16_on_cpu:
            return sdpa_kernel(SDPBackend.MATH)
        return nullcontext()

    def _gather(self, parts: list[Tensor], pieces: list[slice], batch: Batch, tower: int) -> Tensor:
        """The embeddings of the whole batch, of all ranks, as a leaf that collects a gradient."""
        joint = parts[0] if len(parts) == 1 else torch.cat(parts)
        if self.fabric.world_size > 1:  # sums with zeros are exact, and shares may differ in length
            n = len(batch.images if tower == 0 else batch.tokens)
            everyone = joint.new_zeros((n, joint.shape[1]), dtype=torch.float32)
            everyone[pieces[0].start : pieces[-1].stop] = joint
            distributed.all_reduce(everyone)
            joint = everyone.to(joint.dtype)
        return joint.requires_grad_()

    def _sum_over_ranks(self) -> None:
        """Each process has the gradients of its own pieces; that of the logit scale, which comes
        from the joint loss, is whole on each."""
        if self.fabric.world_size == 1:
            return
        scale = self.clip.model.logit_scale
        for parameter in self.clip.model.parameters():
            if parameter.grad is not None and parameter is not scale:
                distributed.all_reduce(parameter.grad)  # Fabric's has a barrier before each
