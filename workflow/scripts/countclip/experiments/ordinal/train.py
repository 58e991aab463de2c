"""The training of one method on one fold with one seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from countclip.experiments.ordinal.batches import Batches
from countclip.experiments.ordinal.folds import read_fold
from countclip.experiments.ordinal.methods import method_of
from countclip.experiments.ordinal.model import OrdinalClip, make_model
from countclip.experiments.ordinal.objective import Ordinal
from countclip.model.clip import Clip
from countclip.model.libraries import rank_zero_only
from countclip.runtime.files import write_json
from countclip.training import checkpoints
from countclip.training.checkpoints import Metric, Outputs
from countclip.training.loggers import open_loggers
from countclip.training.loop import fit
from countclip.training.settings import from_config


def finetune(
    table: str,
    images: str,
    outputs: dict[str, str],
    state: str,
    metadata: dict[str, Any],
    *,
    model: dict[str, Any],
    task: dict[str, Any],
    method: str,
    options: dict[str, Any] | None = None,
    seed: int,
    batch_size: int,
    epochs: int,
    steps: int | None = None,
    evaluations: int | None = None,
    logit_scale: float | None = None,
    head_rate: float | None = None,
    word_rate: float | None = None,
    augment: str = "none",
    micro_batch: int | None = None,
    threads: int,
    loggers: Sequence[str] = (),
    **settings: Any,
) -> None:
    """Train one method on one fold with one seed.

    table, images: see `folds.read_fold`. model: `name`, `pretrained` and `config` of `Clip`.
    outputs: `end`, `selected` (lowest MAE on the validation part) and `best` (on the test part, as
        the released configs choose; its name in the tables says so), the weights; `history`;
        `model`, a JSON of what they are of.
    task: `bins` (entries of `word`, `from`, `to`), `values` (lowest, highest), and `prompt` with
        {word}, `number_prompt` with {number}.
    method, options: of `methods.METHODS`, and fields of `Method` that differ from it.
    evaluations: at even distances; one an epoch if None.
    settings: the other keys of `settings.from_config`.
    """
    torch.set_num_threads(threads)
    fold, pixels = read_fold(table, images)
    chosen = method_of(method, options)
    clip = Clip(**model)
    torch.manual_seed(seed)  # of adapter and head
    ordinal = make_model(clip, chosen, task, logit_scale)
    train = fold[fold["part"] == "train"]
    batches = Batches(
        pixels,
        train["index"].to_numpy(),
        train["label"].to_numpy(),
        size=batch_size,
        seed=seed,
        augment=augment,
    )
    objective = Ordinal(
        ordinal, chosen, head_rate=head_rate, word_rate=word_rate, micro_batch=micro_batch
    )

    def evaluate() -> dict[str, float]:
        return {
            f"{part}_mae": mean_absolute_error(ordinal, pixels, fold[fold["part"] == part])
            for part in ("validation", "test")
        }

    best = (
        Metric("validation_mae", outputs["selected"], "lower"),
        Metric("test_mae", outputs["best"], "lower"),
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
                evaluations=evaluations or epochs,
                seed=seed,
                watched="validation_mae",
                loggers=watching,
                **settings,
            ),
        )
    if rank_zero_only.rank == 0:  # of several processes one writes
        write_json(metadata | {"steps": steps_of}, outputs["model"])


def mean_absolute_error(ordinal: OrdinalClip, images: np.ndarray, rows: pd.DataFrame) -> float:
    """MAE of the expectation, by which a training selects."""
    _, values = ordinal.predict(images, rows["index"].to_numpy())
    return float(np.abs(values - rows["label"].to_numpy()).mean())
