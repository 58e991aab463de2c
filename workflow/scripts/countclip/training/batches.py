"""A batch: the images and tokens of one step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class Images:
    """The pictures of one batch; `images[first:last]` reads those, uint8 (n, size, size, 3).

    All of a batch of 32,768 would be 5 GB. sources: arrays of pictures and which of their rows, one
    after the other. augment: `none`, or `flip_shift`, which mirrors half of the pictures and moves
    each by up to a sixteenth of its side, the edge repeated: no object is enlarged, none is lost
    but at the very edge. seed: of that; a picture's fate depends on its place in the batch and on
    `seed`.
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
    """One step's work: `images` of its B pairs; `tokens` (B + N K, length), the B captions and then
    the K counterfactuals of each of the N counting pairs, which are the first N of the batch;
    `weights` (N,), their lambdas."""

    images: Images
    tokens: Tensor
    weights: Tensor
