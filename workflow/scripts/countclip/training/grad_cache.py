"""Gradients of a loss over a whole batch, however the batch is split over memory and processes.

A contrastive loss sees all pairs of a batch at once, so adding up the gradients of small batches is
another training. Here embeddings are computed piece by piece without their graphs, the loss of the
whole batch gives the gradient of every embedding, and each piece is then computed again and takes
its part back (gradient caching; Gao et al., 2021, arXiv:2101.06983). Several processes do the same,
each with its share of the pieces. Both are exact: they change rounding alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from countclip.model.libraries import Fabric


@dataclass
class Tower:
    """One encoder: `encode` maps a slice of its input to embeddings (n, d) on the device, which
    depend on `parameters`."""

    encode: Callable[[Any], Tensor]
    parameters: Sequence[nn.Parameter]

    @property
    def trained(self) -> bool:
        return any(parameter.requires_grad for parameter in self.parameters)


class GradCache:
    """The towers of a model, each run once a step, or twice where a batch goes in pieces.

    micro_batch: rows that go through a tower at a time; None takes all at once. With it a tower
        that is trained runs forward twice, and memory no longer grows with the batch.
    """

    def __init__(
        self, fabric: Fabric, towers: Sequence[Tower], micro_batch: int | None = None
    ) -> None:
        self.fabric, self.towers, self.micro_batch = fabric, towers, micro_batch

    def backward(
        self, inputs: Sequence[Any], criterion: Callable[..., dict[str, Tensor]], seed: int
    ) -> dict[str, Tensor]:
        """Give the towers' parameters, and those of `criterion`, the gradients of its `loss`.

        inputs: one for each tower, with a length, and slices that `encode` takes. criterion: the
        embeddings of all of them -> losses by name. seed: of what chance there is inside a tower
        (dropout, where a model has it); a piece that is computed twice draws the same twice.
        Returns the losses, detached.
        """
        whole = self.micro_batch is None
        pieces = [list(self._pieces(len(rows))) for rows in inputs]
        with_graph, joint = [], []
        for tower, rows in enumerate(inputs):
            with torch.set_grad_enabled(whole):
                parts = [self._encode(tower, rows, piece, seed) for piece in pieces[tower]]
            with_graph.append(parts if whole else [None] * len(parts))
            joint.append(self._gather([part.detach() for part in parts], pieces[tower], len(rows)))
        losses = criterion(*joint)
        losses["loss"].backward()
        for tower, rows in enumerate(inputs):
            if not self.towers[tower].trained:
                continue
            for piece, part in zip(pieces[tower], with_graph[tower], strict=True):
                if part is None:
                    part = self._encode(tower, rows, piece, seed)
                part.backward(joint[tower].grad[piece])
        self._sum_over_processes()
        return {name: value.detach() for name, value in losses.items()}

    def _pieces(self, n: int) -> Iterator[slice]:
        """The slices of `n` rows that this process computes, one after the other."""
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        first, last = n * rank // ranks, n * (rank + 1) // ranks
        step = self.micro_batch or last - first
        for start in range(first, last, step):
            yield slice(start, min(start + step, last))

    def _encode(self, tower: int, rows: Any, piece: slice, seed: int) -> Tensor:
        torch.manual_seed(np.random.SeedSequence([seed, tower, piece.start]).generate_state(1)[0])
        with self.fabric.autocast():
            return self.towers[tower].encode(rows[piece])

    def _gather(self, parts: list[Tensor], pieces: list[slice], n: int) -> Tensor:
        """The embeddings of all `n` rows, of all ranks, as a leaf that collects a gradient."""
        joint = parts[0] if len(parts) == 1 else torch.cat(parts)
        if self.fabric.world_size > 1:  # sums with zeros are exact, and shares may differ in length
            everyone = joint.new_zeros((n, joint.shape[1]), dtype=torch.float32)
            everyone[pieces[0].start : pieces[-1].stop] = joint
            distributed.all_reduce(everyone)
            joint = everyone.to(joint.dtype)
        return joint.requires_grad_()

    def _sum_over_processes(self) -> None:
        """Sum the gradients of the towers, of which each process has those of its pieces. Those of
        the criterion, which comes from the joint embeddings, are whole on each."""
        if self.fabric.world_size == 1:
            return
        for tower in self.towers:
            for parameter in tower.parameters:
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad)  # Fabric's has a barrier before each
