"""What does a step see? Pairs as arrays, and batches that are a pure function of seed and step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from countclip import captions
from countclip.files import progress, publish
from countclip.models import Clip, cut_padding


def resize(image: Image.Image, size: int) -> np.ndarray:
    """uint8 (size, size, 3): shorter side to `size` (bicubic), centre cropped, as CLIP does it."""
    cut = transforms.Compose(
        [
            transforms.Resize(size, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
        ]
    )
    return np.asarray(cut(image.convert("RGB")))


def pack_images(images: Iterable[Image.Image], n: int, size: int, path: str) -> None:
    """Publish `n` pictures as one uint8 array (n, size, size, 3) that is mapped into memory later.

    Decoding and resizing happen once here instead of once an epoch and variant.
    """
    about = {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    # Written and not mapped: a full disk is then an error, and no signal that ends the process.
    with publish(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, about)
        done = 0
        for image in progress(images, total=n, unit="image", desc="pack"):
            file.write(resize(image, size).tobytes())
            done += 1
        if done != n:
            raise ValueError(f"{path}: {n} pairs need an image each, {done} images were read")


@dataclass
class Pairs:
    """Image-caption pairs of one kind, ready for batches.

    images: uint8 (m, size, size, 3), in memory or mapped from a file. rows: int (n,), which of
    them each pair has. tokens: uint16 (n, 1 + C, length), the caption first and then its C
    counterfactuals (C is 8 for counting pairs, 0 for others). numbers: int (n,), the class of each
    pair, which decides its weight: the number that its caption names, 0 for none.
    """

    images: np.ndarray
    rows: np.ndarray
    tokens: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def counting(
        cls,
        clip: Clip,
        images: np.ndarray,
        rows: np.ndarray,
        texts: Sequence[str],
        numbers: Sequence[int],
    ) -> "Pairs":
        """Pairs whose captions name a number; the nine captions in the order of the classes would
        tell the answer by position, so the true one comes first and the others follow."""
        nine = [candidates(clip, text, number) for text, number in zip(texts, numbers, strict=True)]
        for row, number in zip(nine, numbers, strict=True):
            row.insert(0, row.pop(captions.NUMBERS.index(number)))
        return cls(images, rows, tokens_of(clip, nine), np.asarray(numbers, dtype=np.int64))

    @classmethod
    def plain(
        cls, clip: Clip, images: np.ndarray, rows: np.ndarray, texts: Sequence[str]
    ) -> "Pairs":
        """Pairs that only the contrastive loss of CLIP sees."""
        tokens = tokens_of(clip, [[text] for text in texts])
        return cls(images, rows, tokens, np.zeros(len(texts), dtype=np.int64))


def candidates(clip: Clip, caption: str, number: int, everywhere: bool = False) -> list[str]:
    """The nine captions of one image (captions.candidates), cut so that the number word is among
    the tokens: nine equal token sequences would be counted right or wrong by chance."""
    fitted = captions.fit(caption, number, clip.tokenizer.encode, clip.token_limit)
    return captions.candidates(fitted, number, everywhere)


def tokens_of(clip: Clip, rows: list[list[str]]) -> np.ndarray:
    """Token ids uint16 (n, C, length) of n images with C captions each, which must all differ."""
    if not rows:
        return np.zeros((0, 1, 1), np.uint16)
    tokens = clip.tokenize(text for row in rows for text in row)
    tokens = tokens.reshape(len(rows), len(rows[0]), -1)
    for texts, row in zip(rows, tokens, strict=True):
        if len(np.unique(row, axis=0)) < len(row):
            raise ValueError(
                f"caption {texts[0][:200]!r}: with other numbers it has the same tokens, so nobody"
                " can tell them apart; exclude it"
            )
    return tokens


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


class Batches:
    """Batches of `size` pairs, `n_counting` of them counting pairs, the rest others.

    Each kind is shuffled anew in every pass over it. `batch(step)` depends on the seed and the step
    alone, so a resumed run sees what an undisturbed one would have seen.

    counterfactuals: K, how many of its C are drawn for each counting pair, anew at each step; or,
        if they are `fixed`, once for the whole training, as the published code did.
    lambdas: number -> weight of its counting loss. augment: see `Images`.
    """

    def __init__(
        self,
        counting: Pairs,
        others: Pairs,
        *,
        size: int,
        n_counting: int,
        counterfactuals: int,
        lambdas: dict[int, float],
        seed: int,
        fixed: bool = False,
        augment: str = "none",
    ) -> None:
        if n_counting > size:
            raise ValueError(
                f"a batch of {size} pairs cannot have {n_counting} counting pairs: raise"
                " training.batch_size or lower training.counting_per_batch"
            )
        for kind, pairs, n in (
            ("counting", counting, n_counting),
            ("non-counting", others, size - n_counting),
        ):
            if n > len(pairs):
                raise ValueError(
                    f"a batch needs {n} {kind} pairs; the training set has {len(pairs)}"
                )
        self.counting, self.others = counting, others
        self.size, self.n_counting = size, n_counting
        self.k = counterfactuals
        self.lambdas = lambdas
        self.seed = seed
        self.augment = augment
        self.fixed = self._draw(len(counting), 3) if fixed else None
        self._orders: dict[int, dict[int, np.ndarray]] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a pass over the counting pairs; over the others, where there are none. A rest
        smaller than a batch begins the next pass."""
        if self.n_counting:
            return len(self.counting) // self.n_counting
        return len(self.others) // self.size

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        counting = self._rows(1, len(self.counting), self.n_counting, step)
        others = self._rows(2, len(self.others), self.size - self.n_counting, step)
        anew = self.fixed is None
        drawn = self._draw(len(counting), 0, step) if anew else self.fixed[counting]
        drawn = drawn[:, : self.k]
        parts = [
            self.counting.tokens[counting, 0],
            self.others.tokens[others, 0],
            self.counting.tokens[counting[:, None], drawn].reshape(
                len(counting) * self.k, self.counting.tokens.shape[2]
            ),
        ]
        length = max(part.shape[1] for part in parts)
        tokens = np.concatenate(
            [np.pad(part, ((0, 0), (0, length - part.shape[1]))) for part in parts]
        )
        weights = [self.lambdas[int(number)] for number in self.counting.numbers[counting]]
        return Batch(
            Images(
                (
                    (self.counting.images, self.counting.rows[counting]),
                    (self.others.images, self.others.rows[others]),
                ),
                self.augment,
                (self.seed, 4, step),
            ),
            torch.from_numpy(cut_padding(tokens).astype(np.int64)),
            torch.tensor(weights, dtype=torch.float32),
        )

    def _draw(self, n: int, *stream: int) -> np.ndarray:
        """The counterfactuals of `n` pairs, each in an order of its own: int (n, C) in 1..C."""
        rng = np.random.default_rng([self.seed, *stream])
        every = np.arange(1, self.counting.tokens.shape[1])
        return rng.permuted(np.tile(every, (n, 1)), axis=1)

    def _rows(self, stream: int, n_pairs: int, n: int, step: int) -> np.ndarray:
        """The rows of step `step` in an endless sequence of shuffled passes over `n_pairs` rows."""
        if n == 0:
            return np.zeros(0, dtype=np.int64)
        positions = np.arange(step * n, (step + 1) * n)
        return np.array(
            [self._order(stream, n_pairs, p // n_pairs)[p % n_pairs] for p in positions]
        )

    def _order(self, stream: int, n_pairs: int, epoch: int) -> np.ndarray:
        # The last two orders of a stream serve a batch that lies across two passes.
        known = self._orders.setdefault(stream, {})
        if epoch not in known:
            known[epoch] = np.random.default_rng([self.seed, stream, epoch]).permutation(n_pairs)
            known.pop(epoch - 2, None)
        return known[epoch]
