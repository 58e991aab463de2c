"""The images and labels of one training step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from countclip.training.batches import Images


@dataclass
class LabelledImages:
    """B images with their labels, float32 (B,)."""

    images: Images
    labels: Tensor


class Batches:
    """Batches of `size` images, shuffled anew in every pass; a pass may end inside a batch.

    `batch(step)` is a function of the seed and the step, so a resumed run sees what an undisturbed
    one would have seen.

    images: uint8 (m, side, side, 3), in memory or mapped. rows: which of them to train on, (n,).
    labels: of these rows, (n,). augment: see `Images`.
    """

    def __init__(
        self,
        images: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        size: int,
        seed: int,
        augment: str = "none",
    ) -> None:
        if not len(rows):
            raise ValueError("no image to train on: the part `train` of the fold is empty")
        self.images, self.rows = images, np.asarray(rows)
        self.labels = np.asarray(labels, dtype=np.float32)
        self.size, self.seed, self.augment = size, seed, augment

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see each image at least once."""
        return -(-len(self.rows) // self.size)

    def batch(self, step: int) -> LabelledImages:
        """The batch of a step, counted from 0."""
        n = len(self.rows)
        first, last = step * self.size, (step + 1) * self.size
        passes = range(first // n, (last - 1) // n + 1)
        orders = [np.random.default_rng([self.seed, 1, one]).permutation(n) for one in passes]
        drawn = np.concatenate(orders)[first % n :][: self.size]
        return LabelledImages(
            Images(((self.images, self.rows[drawn]),), self.augment, (self.seed, 2, step)),
            torch.from_numpy(self.labels[drawn]),
        )
