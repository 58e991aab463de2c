"""One method on one fold with one seed: its training, and its predictions for the test part."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from countclip.experiments.ordinal import baselines, decode, methods
from countclip.experiments.ordinal.batches import Batches
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.methods import Method
from countclip.experiments.ordinal.model import OrdinalClip
from countclip.experiments.ordinal.objective import Ordinal
from countclip.experiments.ordinal.prompts import PLACE
from countclip.model.clip import Clip
from countclip.model.embeddings import embed_images
from countclip.model.libraries import rank_zero_only
from countclip.runtime.files import publish, write_json
from countclip.training import checkpoints
from countclip.training.checkpoints import Metric, Outputs
from countclip.training.loggers import open_loggers
from countclip.training.loop import fit
from countclip.training.settings import from_config

PARTS = ("train", "validation", "test")


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

    table, images: see `read_fold`. model: `name`, `pretrained` and `config` of `Clip`.
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
    torch.manual_seed(seed)  # of adapter and head
    ordinal = make_model(Clip(**model), chosen, task, logit_scale)
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


def predict(
    table: str,
    images: str,
    weights: str | None,
    path: str,
    *,
    model: dict[str, Any],
    task: dict[str, Any],
    method: str,
    options: dict[str, Any] | None = None,
    logit_scale: float | None = None,
    threads: int,
) -> None:
    """Publish the predictions of a method for the test part of a fold (`decode.predictions`).

    weights: of `finetune`; None for a method that is not trained. The others as there.
    """
    torch.set_num_threads(threads)
    fold, pixels = read_fold(table, images)
    chosen = method_of(method, options)
    if bool(chosen.losses) != bool(weights):
        raise ValueError(f"method {method}: {'no' if chosen.losses else 'unexpected'} weights")
    bins = Bins.from_config(task["bins"])
    train, validation, test = (fold[fold["part"] == part] for part in PARTS)
    if method == "constant":
        probabilities, values = baselines.constant(bins, train["label"].to_numpy(), len(test))
        argmax = decode.most_probable(bins, probabilities)
    elif method == "linear_probe":
        clip = Clip(**model)
        known = [
            (embed_images(clip, pixels[part["index"]]).numpy(), part["label"].to_numpy())
            for part in (train, validation, test)
        ]
        values = baselines.linear_probe(known[0], known[1], known[2][0])
        probabilities = np.eye(len(bins))[bins.of(values)]
        argmax = decode.most_probable(bins, probabilities)
    else:
        ordinal = make_model(Clip(**model), chosen, task, logit_scale)
        if weights:
            ordinal.load(weights)
        of_concepts, values = ordinal.predict(pixels, test["index"].to_numpy())
        argmax = decode.most_probable(ordinal.bins, of_concepts)
        probabilities = decode.regrouped(ordinal.bins, bins, of_concepts)
    rows = decode.predictions(test, bins, probabilities, values, argmax)
    with publish(path) as temporary:
        rows.to_parquet(temporary, index=False)


def read_fold(table: str, images: str) -> tuple[pd.DataFrame, np.ndarray]:
    """A fold's table (Parquet) with its row of each image as `index`, and all images.

    Columns: label; part (`train`, `validation` or `test`); index, row in `images`, by default the
    row's number; group, if there are any. images: uint8 (m, side, side, 3), .npy.
    ValueError for a fold with an empty part or an image that is not there.
    """
    fold = pd.read_parquet(table)
    pixels = np.load(images, mmap_mode="r")
    if "index" not in fold:
        fold = fold.assign(index=np.arange(len(fold)))
    for part in PARTS:
        if not (fold["part"] == part).any():
            raise ValueError(f"{table}: no row has the part {part!r}, which a training needs")
    if fold["index"].max() >= len(pixels):
        raise ValueError(
            f"{table}: image {fold['index'].max()} is not in {images}, which has {len(pixels)};"
            " pack the images of this table again"
        )
    return fold, pixels


def method_of(name: str, options: dict[str, Any] | None) -> Method:
    """A method of the table, with some of its fields changed."""
    return replace(methods.method(name), **options or {})


def make_model(
    clip: Clip, method: Method, task: dict[str, Any], logit_scale: float | None = None
) -> OrdinalClip:
    """The model of a method, with the concepts and the prompt that it has for a task."""
    if method.concepts == "numbers":
        bins = Bins.numbers(*task["values"])
        prompt = task["number_prompt"].replace("{number}", PLACE)
    else:
        bins, prompt = Bins.from_config(task["bins"]), task["prompt"]
    return OrdinalClip(clip, method, bins, prompt, logit_scale)


def mean_absolute_error(ordinal: OrdinalClip, images: np.ndarray, rows: pd.DataFrame) -> float:
    """MAE of the expectation, by which a training selects."""
    _, values = ordinal.predict(images, rows["index"].to_numpy())
    return float(np.abs(values - rows["label"].to_numpy()).mean())
