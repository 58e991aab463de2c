"""Fine-tuning for counting: pairs, batches with counterfactuals, one variant's training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from countclip.data import lambda_schemes, number_words
from countclip.evaluation.counting import Questions, accuracy
from countclip.model.clip import Clip, cut_padding
from countclip.model.concepts import CONCEPTS, concept_captions
from countclip.model.embeddings import similarities
from countclip.model.inputs import nine_captions, tokens_of
from countclip.model.libraries import rank_zero_only
from countclip.runtime.files import write_json, write_text
from countclip.training import checkpoints, open_clip_files
from countclip.training.batches import Batch, Images
from countclip.training.checkpoints import Metric, Outputs
from countclip.training.contrastive import Contrastive
from countclip.training.loggers import open_loggers
from countclip.training.loop import fit
from countclip.training.losses import (
    CoarseToFineLoss,
    CountClipLoss,
    NineWordsLoss,
    OrdinalClipLoss,
    SigmoidLoss,
)
from countclip.training.settings import from_config
from countclip.training.soft_targets import (
    SoftBatch,
    SoftClipLoss,
    Targets,
    TargetSettings,
    read_objects,
    targets_of,
)

COUNTERFACTUALS = {"none": 0, "count": 1, "count_plus": 8}
"""Counterfactual captions per pair, K, of each loss of the config; the ordinal ones follow."""
ORDINAL = {
    **dict.fromkeys(("ordinal_exp", "ordinal_logit", "ordinal_margin", "sord"), 8),
    "coarse_to_fine": len(CONCEPTS),
}
"""Captions beside the true one of each ordinal loss: all other numbers, or all concepts."""


def make_criterion(loss: str, count_logit_scale: float | None, rows: int | None) -> CountClipLoss:
    """The criterion of a loss of the config; the others as `CountClipLoss` has them."""
    if loss == "coarse_to_fine":
        return OrdinalClipLoss(CoarseToFineLoss(count_logit_scale), rows)
    if loss in ORDINAL:
        return OrdinalClipLoss(NineWordsLoss(loss, count_logit_scale), rows)
    return CountClipLoss(count_logit_scale, rows)


@dataclass
class Pairs:
    """Image-caption pairs of one kind, ready for batches.

    images: uint8 (m, size, size, 3), in memory or mapped from a file. rows: int (n,), which of
    them each pair has. tokens: uint16 (n, 1 + C, length), the caption first and then its C
    counterfactuals (C is 8 for counting pairs, 0 for others) or, in their place, its concepts.
    numbers: int (n,), the label of each pair, which decides its lambda: the number that its
    caption names, 0 for none. pad: the token id behind a text.
    """

    images: np.ndarray
    rows: np.ndarray
    tokens: np.ndarray
    numbers: np.ndarray
    pad: int = 0

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
        concepts: bool = False,
    ) -> "Pairs":
        """Pairs whose captions name a number; the nine captions in the order of the classes would
        tell the answer by position, so the true one comes first and the others follow.

        concepts: `concept_captions` follow instead."""
        captions = []
        for text, number in zip(texts, numbers, strict=True):
            row = nine_captions(clip, text, number)
            row.insert(0, row.pop(number_words.NUMBERS.index(number)))
            captions.append([row[0], *concept_captions(clip, text, number)] if concepts else row)
        tokens = tokens_of(clip, captions)
        return cls(images, rows, tokens, np.asarray(numbers, dtype=np.int64), clip.pad)

    @classmethod
    def plain(
        cls, clip: Clip, images: np.ndarray, rows: np.ndarray, texts: Sequence[str]
    ) -> "Pairs":
        """Pairs that only the contrastive loss of CLIP sees."""
        tokens = tokens_of(clip, [[text] for text in texts])
        return cls(images, rows, tokens, np.zeros(len(texts), dtype=np.int64), clip.pad)


class Batches:
    """Batches of `size` pairs, `n_counting` of them counting pairs, the rest others.

    Each kind is shuffled anew in every pass over it. `batch(step)` is a function of the seed and
    the step, so a resumed run sees what an undisturbed one would have seen.

    balanced: draw each number of the counting pairs equally often: all numbers that there are in
        turn, in an order drawn anew each time, and the pairs of each in passes of their own.
    counterfactuals: K, how many of its C are drawn for each counting pair, anew at each step; or,
        if they are `fixed`, once for the whole training, as the published code did. in_order: take
        the first K, in their order, instead.
    lambdas: number -> weight of its counting loss. augment: see `Images`.
    targets: soft targets by the rows of `counting` and then of `others`; None for hard labels.
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
        in_order: bool = False,
        balanced: bool = False,
        augment: str = "none",
        targets: Targets | None = None,
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
                more = (
                    "lower training.counting_per_batch"
                    if kind == "counting"
                    else ("raise training.counting_per_batch, up to training.batch_size")
                )
                raise ValueError(
                    f"a batch needs {n} {kind} pairs; the training set has {len(pairs)}: {more}, or"
                    " add pairs"
                )
        self.counting, self.others = counting, others
        self.size, self.n_counting = size, n_counting
        self.k = counterfactuals
        self.lambdas = lambdas
        self.seed = seed
        self.augment = augment
        self.targets = targets
        self.in_order = in_order
        numbers = np.unique(counting.numbers) if balanced else ()
        self.rows_of_number = [np.flatnonzero(counting.numbers == number) for number in numbers]
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
        counting = self._counting_rows(step)
        others = self._rows(2, len(self.others), self.size - self.n_counting, step)
        drawn_anew = self.fixed is None
        drawn = self._draw(len(counting), 0, step) if drawn_anew else self.fixed[counting]
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
            [
                np.pad(
                    part, ((0, 0), (0, length - part.shape[1])), constant_values=self.counting.pad
                )
                for part in parts
            ]
        )
        numbers = self.counting.numbers[counting]
        lambdas = [self.lambdas[int(number)] for number in numbers]
        batch = Batch(
            Images(
                (
                    (self.counting.images, self.counting.rows[counting]),
                    (self.others.images, self.others.rows[others]),
                ),
                self.augment,
                (self.seed, 4, step),
            ),
            torch.from_numpy(cut_padding(tokens, self.counting.pad).astype(np.int64)),
            torch.from_numpy(np.concatenate([numbers, self.others.numbers[others]])),
            torch.tensor(lambdas, dtype=torch.float32),
        )
        if self.targets is None:
            return batch
        rows = np.concatenate([counting, len(self.counting) + others])
        return SoftBatch(**vars(batch), target=self.targets.of(rows))

    def _draw(self, n: int, *stream: int) -> np.ndarray:
        """The counterfactuals of `n` pairs, each in an order of its own: int (n, C) in 1..C."""
        places = np.tile(np.arange(1, self.counting.tokens.shape[1]), (n, 1))
        if self.in_order:
            return places
        return np.random.default_rng([self.seed, *stream]).permuted(places, axis=1)

    def _counting_rows(self, step: int) -> np.ndarray:
        """The rows of the counting pairs of a step."""
        groups = self.rows_of_number
        if not groups:
            return self._rows(1, len(self.counting), self.n_counting, step)
        positions = np.arange(step * self.n_counting, (step + 1) * self.n_counting)
        rows = []
        for turn, place in zip(*np.divmod(positions, len(groups)), strict=True):
            group = self._order(5, len(groups), turn)[place]
            passes, row = divmod(turn, len(groups[group]))
            rows.append(groups[group][self._order(6 + group, len(groups[group]), passes)[row]])
        return np.array(rows, dtype=np.int64)

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
        orders = self._orders.setdefault(stream, {})
        if epoch not in orders:
            orders[epoch] = np.random.default_rng([self.seed, stream, epoch]).permutation(n_pairs)
            orders.pop(epoch - 2, None)
        return orders[epoch]


def finetune(
    counting: str,
    non_counting: str,
    images: str,
    benchmark: Iterable[dict[str, Any]],
    outputs: dict[str, str],
    state: str,
    metadata: dict[str, Any],
    *,
    model: dict[str, Any],
    replace: str,
    seed: int,
    batch_size: int,
    counting_per_batch: int,
    epochs: int,
    steps: int | None,
    loss: str,
    lambda_scheme: str,
    lambda_0: float,
    normalise: str,
    counterfactuals: str,
    count_logit_scale: float | None,
    augment: str,
    train_logit_scale: bool,
    sampling: str = "as_is",
    tower: str = "both",
    last_blocks: int | None = None,
    lora_rank: int | None = None,
    micro_batch: int | None = None,
    wise_ft: float = 1.0,
    clip_target: str = "hard",
    soft_alpha: float = 0.5,
    soft_power: float = 1.0,
    soft_mask: str = "none",
    soft_objects: str = "parser",
    objects: Sequence[str] = (),
    threads: int,
    loggers: Sequence[str] = (),
    **settings: Any,
) -> None:
    """Train one variant with one seed on the counting set.

    counting, non_counting: the tables of the counting set; images: their images as one array
        (`inputs.pack_images`), the counting rows first.
    benchmark: rows of `store.read_benchmark`, for the paper's protocol, which selects on them.
    outputs: `end`, `best` (of the benchmark's accuracy) and `selected` (of the held-out pairs'),
        the weights; `history`; `lambdas` (number, n, lambda); `model`, a JSON of what they are of;
        `config` and `link`, of `selected`, as `open_clip_files.write` has them.
    metadata: the variant, the seed, all settings and their digest, for that JSON and the weights.
    replace: as `evaluation.counting.evaluate` has it, of both accuracies.
    sampling: of counting pairs: `as_is`, each equally often; `balanced`, each number.
    objects: with `soft_objects: llm`, files of `soft_targets.read_objects`.
    loggers: see `loggers.open_loggers`.
    settings: the other keys of the config's section `training` (`settings.from_config`).
    """
    torch.set_num_threads(threads)
    clip = Clip(**model)
    pixels = np.load(images, mmap_mode="r")
    table, others = pd.read_parquet(counting), pd.read_parquet(non_counting)
    train = (table["split"] == "train").to_numpy()
    pairs = Pairs.counting(
        clip,
        pixels,
        np.flatnonzero(train),
        table["caption"][train],
        table["number"][train],
        concepts=loss == "coarse_to_fine",
    )
    plain = Pairs.plain(clip, pixels, len(table) + np.arange(len(others)), others["caption"])
    soft = TargetSettings(clip_target, soft_alpha, soft_power, soft_mask)
    captions = [*table["caption"][train], *others["caption"]]
    listed = read_objects(objects) if soft_objects == "llm" else None
    targets = targets_of(soft, captions, [*pairs.numbers, *plain.numbers], seed, listed)
    counts = table["number"][train].value_counts().to_dict()
    lambdas = lambda_schemes.lambdas(counts, lambda_scheme, lambda_0, normalise)
    batches = Batches(
        pairs,
        plain,
        size=batch_size,
        n_counting=counting_per_batch,
        counterfactuals=(COUNTERFACTUALS | ORDINAL)[loss],
        lambdas=lambdas,
        seed=seed,
        fixed=counterfactuals == "fixed",
        in_order=loss in ORDINAL,
        balanced=sampling == "balanced",
        augment=augment,
        targets=targets,
    )
    torch.manual_seed(seed)  # of a head
    criterion = make_criterion(loss, count_logit_scale, micro_batch)
    if getattr(clip.model, "logit_bias", None) is not None:
        if targets is not None:
            raise ValueError(
                f"training.clip_target {clip_target}: {model['name']} is trained with a sigmoid"
                " loss, whose pairs are right or wrong; set it to hard"
            )
        criterion.clip_loss = SigmoidLoss(clip.model, micro_batch)
    if targets is not None:
        criterion.clip_loss = SoftClipLoss(micro_batch)
    objective = Contrastive(
        clip,
        criterion,
        tower=tower,
        last_blocks=last_blocks,
        lora_rank=lora_rank,
        train_logit_scale=train_logit_scale,
        micro_batch=micro_batch,
        wise_ft=wise_ft,
    )
    everywhere = replace == "everywhere"
    questions = {
        "heldout_accuracy": Questions.heldout(clip, counting, images, everywhere),
        "benchmark_accuracy": Questions.of(clip, benchmark, everywhere),
    }

    def evaluate() -> dict[str, float]:
        with objective.published():
            return {
                name: accuracy(similarities(clip, of.images, of.tokens), of.numbers)
                for name, of in questions.items()
            }

    best = (
        Metric("benchmark_accuracy", outputs["best"]),
        Metric("heldout_accuracy", outputs["selected"]),
    )
    metadata = metadata | {"versions": checkpoints.versions()}
    with open_loggers(loggers, metadata) as watching:
        steps_of = fit(
            objective,
            batches,
            evaluate,
            Outputs(outputs["history"], outputs["end"], best),
            state,
            metadata,
            **from_config(
                steps=steps or epochs * batches.steps_per_epoch,
                evaluations=epochs,
                seed=seed,
                watched="heldout_accuracy",
                loggers=watching,
                **settings,
            ),
        )
    if rank_zero_only.rank == 0:  # of several processes one writes
        rows = [{"number": k, "n": counts[k], "lambda": value} for k, value in lambdas.items()]
        table = pd.DataFrame(rows)
        write_text(table.to_csv(index=False, lineterminator="\n"), outputs["lambdas"])
        write_json(metadata | {"steps": steps_of}, outputs["model"])
        open_clip_files.write(
            clip, outputs["selected"], config=outputs["config"], link=outputs["link"]
        )
