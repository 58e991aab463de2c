"""The images and tokens of one training step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class BatchSource(Protocol):
    """The batches of a training: `size` samples each, `steps_per_epoch` in a pass over the data."""

    size: int

    @property
    def steps_per_epoch(self) -> int: ...

    def batch(self, step: int) -> Any:
        """The batch of a step, counted from 0: a function of the seed and the step alone."""


@dataclass
class Images:
    """The images of one batch; `images[first:last]` reads those, uint8 (n, size, size, 3).

    All of a batch of 32,768 would be 5 GB. sources: arrays of images and which of their rows, one
    after the other. augment: `none`, or `flip_shift`, which mirrors half of the images and moves
    each by up to a sixteenth of its side, the edge repeated: no object is enlarged, none is lost
    but at the very edge. seed: of that; what happens to an image depends on its place in the batch
    and on `seed`.
    """

    sources: Sequence[tuple[np.ndarray, np.ndarray]]
    augment: str
    seed: tuple[int, ...]

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.sources)

    def __getitem__(self, part: slice) -> Tensor:
        first, last, _ = part.indices(len(self))
        parts, start = [], 0
        for images, rows in self.sources:
            wanted = rows[max(first - start, 0) : max(last - start, 0)]
            parts.append(images[wanted])
            start += len(rows)
        pixels = np.concatenate(parts)
        if self.augment == "flip_shift":
            for i in range(len(pixels)):
                pixels[i] = _flip_shift(pixels[i], np.random.default_rng([*self.seed, first + i]))
        return torch.from_numpy(pixels)


def _flip_shift(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = len(image)
    margin = size // 16
    if rng.random() < 0.5:
        image = image[:, ::-1]
    y, x = rng.integers(0, 2 * margin + 1, 2)
    wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    return wide[y : y + size, x : x + size]


@dataclass
class Batch:
    """B image-caption pairs, of which the first N have K wrong captions each.

    tokens: int64 (B + N K, length), the B captions and then the wrong ones of each of the N pairs.
    labels: int64 (B,), the class of each pair; in counting its number, 0 for none.
    lambdas: (N,), the weight of each of the N pairs in the loss of its wrong captions.
    """

    images: Images
    tokens: Tensor
    labels: Tensor
    lambdas: Tensor
