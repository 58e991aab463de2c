"""Embeddings of a fold's test images and of the concepts' texts, before or after a training."""

from typing import Any

import numpy as np

from countclip.experiments.ordinal.embeddings import Embeddings, write_embeddings
from countclip.experiments.ordinal.folds import read_fold
from countclip.experiments.ordinal.methods import method_of
from countclip.experiments.ordinal.model import make_model
from countclip.model.clip import Clip
from countclip.model.embeddings import fabric_of


def embed(
    table: str,
    images: str,
    weights: str | None,
    path: str,
    *,
    model: dict[str, Any],
    task: dict[str, Any],
    method: str,
    options: dict[str, Any] | None = None,
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int,
) -> None:
    """Publish normalised embeddings, with a method's model, of a fold's test part and of the texts.

    weights: of `train.finetune`; None is the model before any training. The others as in
    `evaluate.predict`.
    """
    fold, pixels = read_fold(table, images)
    test = fold[fold["part"] == "test"]
    fabric, clip = fabric_of(accelerator, precision, threads), Clip(**model)
    clip.model.to(fabric.device)
    with fabric.autocast():
        ordinal = make_model(clip, method_of(method, options), task)
        if weights:
            ordinal.load(weights)
        ordinal.to(fabric.device)
        embedded, texts = ordinal.embed(pixels, test["index"].to_numpy(), batch)
    midpoints = np.array(ordinal.bins.midpoints)
    write_embeddings(Embeddings(embedded, test["label"].to_numpy(), texts, midpoints), path)
