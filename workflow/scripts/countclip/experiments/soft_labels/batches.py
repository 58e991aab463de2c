"""The pairs of one step of pretraining, with their target."""

from collections.abc import Sequence

import numpy as np
import torch

from countclip.model.clip import cut_padding
from countclip.training.batches import Images
from countclip.training.soft_targets import SoftBatch, Targets


class Batches:
    """Batches of `size` pairs, shuffled anew in every pass; a pass may end inside a batch.

    `batch(step)` is a function of the seed and the step, so a resumed run sees what an undisturbed
    one would have seen.

    images: uint8 (m, side, side, 3), in memory or mapped. rows: which of them the pairs have, (n,).
    tokens: uint16 (n, D, length), a text of each of D domains. shares: how often a text of each
    domain is drawn, anew at each step; they sum to one. targets: by the pairs' places. pad: token
    id behind a text.
    """

    def __init__(
        self,
        images: np.ndarray,
        rows: np.ndarray,
        tokens: np.ndarray,
        *,
        targets: Targets,
        size: int,
        seed: int,
        shares: Sequence[float] = (1.0,),
        augment: str = "none",
        pad: int = 0,
    ) -> None:
        if len(rows) < size:
            raise ValueError(
                f"a batch needs {size} pairs; there are {len(rows)}: lower"
                " soft_labels.pretraining.training.batch_size"
            )
        self.images, self.rows, self.tokens = images, np.asarray(rows), tokens
        self.targets, self.shares = targets, shares
        self.size, self.seed, self.augment, self.pad = size, seed, augment, pad

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see each pair at least once."""
        return -(-len(self.rows) // self.size)

    def batch(self, step: int) -> SoftBatch:
        """The batch of a step, counted from 0."""
        n = len(self.rows)
        first, last = step * self.size, (step + 1) * self.size
        passes = range(first // n, (last - 1) // n + 1)
        orders = [np.random.default_rng([self.seed, 1, one]).permutation(n) for one in passes]
        drawn = np.concatenate(orders)[first % n :][: self.size]
        rng = np.random.default_rng([self.seed, 3, step])
        domains = rng.choice(len(self.shares), self.size, p=self.shares)
        return SoftBatch(
            Images(((self.images, self.rows[drawn]),), self.augment, (self.seed, 2, step)),
            torch.from_numpy(cut_padding(self.tokens[drawn, domains], self.pad).astype(np.int64)),
            torch.zeros(self.size, dtype=torch.int64),
            torch.zeros(0),
            target=self.targets.of(drawn),
        )
