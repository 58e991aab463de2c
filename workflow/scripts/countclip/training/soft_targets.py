"""Soft targets of the contrastive loss: captions that share objects are no plain negatives.

The target of pair i over the pairs j of a batch is row i of T, for images over captions and for
captions over images alike (T is not symmetric, and its transpose is not used):

    hard      T = I
    smooth    1 - a on the diagonal, a / (B - 1) elsewhere (PyramidCLIP)
    objects   T = (1 - a) I + a D^-1 S, S_ij = IoU of the objects of captions i and j, to a power,
              and D its row sums (after AlignCLIP's Object-IoU, whose normalisation is not known)

Each is `keep` I + `spread` 1 1^T + `share` D^-1 S. Rows of T sum to one, so the cross entropy needs
no (B, B) target: it is logsumexp_j(s a_i b_j) - s a_i c_i, with c = T b. Targets come from captions
alone, so that no gradient flows through them, and nothing can collapse.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from countclip.training.batches import Batch

log = logging.getLogger(__name__)

Kind = Literal["hard", "smooth", "objects", "objects_shuffled"]
Mask = Literal["none", "numbers"]
ROWS = 1024
"""Rows of the overlaps S that are computed at a time."""


class TargetSettings(NamedTuple):
    """Settings of a target.

    clip_target: `objects_shuffled` deals the objects of the captions to other captions, once: as
        sparse and as soft as `objects`, and all wrong. soft_alpha: a above, 0 to 1. soft_power: of
        the IoU; a higher one is closer to equal sets alone. soft_mask: with `numbers` two captions
        that name different numbers share nothing.
    """

    clip_target: Kind = "hard"
    soft_alpha: float = 0.5
    soft_power: float = 1.0
    soft_mask: Mask = "none"

    def check(self) -> None:
        """Raise ValueError for a setting that means nothing."""
        if self.clip_target not in get_args(Kind):
            raise ValueError(
                f"clip_target: {self.clip_target!r} is none of {', '.join(get_args(Kind))}"
            )
        if self.soft_mask not in get_args(Mask):
            raise ValueError(f"soft_mask: {self.soft_mask!r} is neither none nor numbers")
        if not 0 <= self.soft_alpha <= 1:
            raise ValueError(f"soft_alpha: {self.soft_alpha} is not between 0 and 1")
        if not self.soft_power > 0:
            raise ValueError(f"soft_power: {self.soft_power} is not above 0")


@dataclass
class Target:
    """The target T of a batch of B pairs, without its (B, B) matrix.

    overlaps: S, symmetric, with ones on its diagonal; None where T needs none. The statistics are
    means over the rows of T: entropy (nats), the mass on the true pair, and how many other pairs
    have a mass.
    """

    keep: float
    spread: float = 0.0
    share: float = 0.0
    overlaps: sparse.csr_array | None = None
    entropy: float = 0.0
    diagonal: float = 1.0
    partners: float = 0.0

    def mix(self, embeddings: Tensor) -> Tensor:
        """T b of embeddings b (B, d)."""
        mixed = self.keep * embeddings
        if self.spread:
            mixed = mixed + self.spread * embeddings.sum(dim=0)
        if self.overlaps is not None:
            sums = self.overlaps.sum(axis=1, dtype=np.float64)
            scale = torch.as_tensor(self.share / sums, dtype=embeddings.dtype)
            matrix = _to_torch(self.overlaps, embeddings)
            mixed = mixed + scale.to(embeddings.device)[:, None] * _Product.apply(
                matrix, embeddings
            )
        return mixed


class _Product(torch.autograd.Function):
    """S b for a sparse S that is symmetric, whose gradient is the same product."""

    @staticmethod
    def forward(ctx, matrix: Tensor, embeddings: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix @ embeddings

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix @ gradient.contiguous()


def _to_torch(matrix: sparse.csr_array, like: Tensor) -> Tensor:
    """A sparse matrix on the device of `like`; of pairs of indices, since torch multiplies rows in
    compressed form only where it has Intel's library."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    places = torch.from_numpy(np.stack([rows, matrix.indices.astype(np.int64)]))
    return torch.sparse_coo_tensor(
        places, torch.from_numpy(matrix.data).to(like.dtype), matrix.shape,
        device=like.device, is_coalesced=True, check_invariants=False,
    )  # fmt: skip


class ObjectSets:
    """The objects of n captions, and the number that each names, 0 for none."""

    def __init__(self, sets: Sequence[Iterable[str]], numbers: Sequence[int]) -> None:
        names: dict[str, int] = {}
        ids = [sorted(names.setdefault(name, len(names)) for name in set(one)) for one in sets]
        sizes = np.array([len(one) for one in ids], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        self.ids = np.array([id for one in ids for id in one], np.int32)
        self.numbers = np.asarray(numbers, np.int64)
        self.n_objects = len(names)
        if len(self.numbers) != len(ids):
            raise ValueError(f"{len(ids)} captions have {len(self.numbers)} numbers")

    def __len__(self) -> int:
        return len(self.numbers)

    def shuffled(self, seed: int) -> "ObjectSets":
        """The same objects and numbers, dealt to other captions at random."""
        order = np.random.default_rng(seed).permutation(len(self))
        dealt = object.__new__(ObjectSets)
        sizes = np.diff(self.offsets)[order]
        dealt.offsets = np.concatenate([[0], np.cumsum(sizes)])
        dealt.ids = self.ids[_ranges(self.offsets[order], sizes)]
        dealt.numbers, dealt.n_objects = self.numbers[order], self.n_objects
        return dealt

    def overlaps(
        self, rows: np.ndarray, power: float, mask: Mask, dtype: type = np.float32
    ) -> sparse.csr_array:
        """S of a batch: the IoU of each two sets to a power, sparse; a set overlaps itself by 1,
        even an empty one."""
        sizes = np.diff(self.offsets)[rows]
        ids = self.ids[_ranges(self.offsets[rows], sizes)]
        numbers = self.numbers[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        shape = (len(rows), max(self.n_objects, 1))
        sets = sparse.csr_array((np.ones(len(ids), np.float32), ids, offsets), shape)
        blocks = [
            _block(sets, sizes, numbers, slice(start, start + ROWS), power, mask).astype(dtype)
            for start in range(0, len(rows), ROWS)
        ]
        return sparse.csr_array(sparse.vstack(blocks, format="csr"))


def _block(
    sets: sparse.csr_array,
    sizes: np.ndarray,
    numbers: np.ndarray,
    part: slice,
    power: float,
    mask: Mask,
) -> sparse.csr_array:
    """Some rows of S."""
    common = (sets[part] @ sets.T).tocoo()
    one, other = common.row + part.start, common.col
    iou = common.data.astype(np.float64) / (sizes[one] + sizes[other] - common.data)
    wanted = one != other  # the diagonal is set apart, since an empty set has no common object
    if mask == "numbers":
        differ = (numbers[one] > 0) & (numbers[other] > 0) & (numbers[one] != numbers[other])
        wanted &= ~differ
    rows = np.arange(common.shape[0])
    row = np.concatenate([common.row[wanted], rows])
    column = np.concatenate([other[wanted], rows + part.start])
    data = np.concatenate([iou[wanted] ** power, np.ones(len(rows))])
    block = sparse.csr_array((data, (row, column)), common.shape)
    block.sort_indices()
    return block


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The indices start, start + 1, ... of each range, one range after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


class Targets:
    """The targets of the batches of a training, by the rows of their pairs.

    objects: of all pairs of the training, for targets of objects. seed: of the shuffle. dtype: of
    the overlaps, which are the memory that a target takes.
    """

    def __init__(
        self,
        settings: TargetSettings,
        objects: ObjectSets | None = None,
        seed: int = 0,
        dtype: type = np.float32,
    ) -> None:
        settings.check()
        self.settings, self.dtype = settings, dtype
        self.objects = objects
        if settings.clip_target.startswith("objects") and objects is None:
            raise ValueError(f"clip_target: {settings.clip_target} needs the captions' objects")
        if settings.clip_target == "objects_shuffled":
            self.objects = objects.shuffled(seed)

    def of(self, rows: np.ndarray) -> Target:
        """The target of a batch of these pairs, in this order."""
        kind, alpha, power, mask = self.settings
        others = len(rows) - 1
        if kind == "hard" or alpha == 0 or others == 0:
            return Target(keep=1.0)
        if kind == "smooth":
            mass = np.array([1 - alpha, *[alpha / others] * others])
            return Target(
                keep=1 - alpha - alpha / others, spread=alpha / others,
                entropy=_entropy(mass), diagonal=1 - alpha, partners=others,
            )  # fmt: skip
        overlaps = self.objects.overlaps(rows, power, mask, self.dtype)
        sums = overlaps.sum(axis=1, dtype=np.float64)
        counts = np.diff(overlaps.indptr)
        mass = alpha * overlaps.data / np.repeat(sums, counts)
        diagonal = np.repeat(np.arange(len(rows)), counts) == overlaps.indices
        mass[diagonal] += 1 - alpha
        return Target(
            keep=1 - alpha, share=alpha, overlaps=overlaps, entropy=_entropy(mass) / len(rows),
            diagonal=float(mass[diagonal].mean()), partners=float((counts - 1).mean()),
        )  # fmt: skip


def targets_of(
    settings: TargetSettings,
    captions: Iterable[str],
    numbers: Sequence[int],
    seed: int,
    listed: dict[str, list[str]] | None = None,
) -> Targets | None:
    """The targets of a training by its captions; None for hard labels, which need none.

    numbers: the number that each caption names, 0 for none. listed: objects by caption; None takes
    the parser's. A caption that is not listed has no objects, and so no partners.
    """
    settings.check()
    if settings.clip_target == "hard":
        return None
    if settings.clip_target == "smooth":
        return Targets(settings)
    captions = list(captions)
    if listed is None:
        from countclip.data.objects import Objects  # its tables take half a second

        sets = list(map(Objects(), captions))
    else:
        known = sum(caption in listed for caption in captions)
        log.info("objects are listed for %d of %d captions", known, len(captions))
        if not known:
            raise ValueError(
                "clip_target: no caption of the training has listed objects; soft_labels.llm.sets"
                " must be the caption sets that these captions are from"
            )
        sets = [listed.get(caption, []) for caption in captions]
    return Targets(settings, ObjectSets(sets, numbers), seed)


def read_objects(paths: Sequence[str]) -> dict[str, list[str]]:
    """Objects by caption, from Parquet files of captions and their objects."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(path, columns=["caption", "objects"]).to_pydict() for path in paths]
    return {
        caption: objects
        for table in tables
        for caption, objects in zip(table["caption"], table["objects"], strict=True)
    }


def _entropy(mass: np.ndarray) -> float:
    mass = mass[mass > 0]
    return float(-(mass * np.log(mass)).sum())


@dataclass
class SoftBatch(Batch):
    """A batch with its target."""

    target: Target


class SoftClipLoss(nn.Module):
    """The symmetric contrastive loss of CLIP against soft targets.

    rows: how many rows of the (batch, batch) similarities are held at a time; None holds them all.
    """

    def __init__(self, rows: int | None = None) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, image: Tensor, text: Tensor, logit_scale: Tensor, target: Target) -> Tensor:
        """image, text: (B, d), L2-normalised; reduced in float32 or wider."""
        image, text, scale = (
            tensor if tensor.dtype == torch.float64 else tensor.float()
            for tensor in (image, text, logit_scale)
        )
        total = image.new_zeros(())
        for one, other in ((image, text), (text, image)):
            total = total - scale * (one * target.mix(other)).sum()
            if self.rows is None:
                total = total + _log_sums(one, other, scale)
                continue
            for part in one.split(self.rows):
                total = total + checkpoint(_log_sums, part, other, scale, use_reentrant=False)
        return total / (2 * len(image))

    def of_batch(
        self, image: Tensor, text: Tensor, batch: SoftBatch, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """The loss, and of the target what the history shows.

        `kl` is the loss minus the entropy of the target, which alone can be compared between
        targets. `target_diagonal` is the mass on the true pair, and `target_partners` how many
        other pairs have a mass, both means over the batch.
        """
        target = batch.target
        loss = self(image, text, logit_scale, target)
        return {
            "loss_clip": loss,
            "kl": loss.detach() - target.entropy,
            "target_diagonal": loss.new_tensor(target.diagonal),
            "target_partners": loss.new_tensor(target.partners),
        }


def _log_sums(part: Tensor, other: Tensor, scale: Tensor) -> Tensor:
    return torch.logsumexp((scale * part) @ other.T, dim=1).sum()  # a scaled (rows, B) costs more


class SoftClip(nn.Module):
    """The criterion of contrastive training alone, with targets of any kind."""

    def __init__(self, rows: int | None = None) -> None:
        super().__init__()
        self.clip_loss = SoftClipLoss(rows)

    def forward(
        self, image: Tensor, text: Tensor, batch: SoftBatch, logit_scale: Tensor
    ) -> dict[str, Tensor]:
        """image, text: (B, d)."""
        losses = self.clip_loss.of_batch(image, text, batch, logit_scale)
        return {"loss": losses.pop("loss_clip"), **losses}
