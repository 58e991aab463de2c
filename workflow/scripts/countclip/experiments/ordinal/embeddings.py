"""Embeddings of a fold's test images and of the concepts' texts, before or after a training."""

from typing import Any, NamedTuple

import numpy as np

from countclip.experiments.ordinal.folds import read_fold
from countclip.experiments.ordinal.methods import method_of
from countclip.runtime.files import publish

KINDS = {"texts": "texts of the concepts", "images": "mean image of each label"}


class Embeddings(NamedTuple):
    """Of one state of a model: images (n, d) with labels (n,), and K texts with midpoints (K,)."""

    images: np.ndarray
    labels: np.ndarray
    texts: np.ndarray
    midpoints: np.ndarray

    def of(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings and values of one of KINDS."""
        if kind == "texts":
            return self.texts, self.midpoints
        return self.images, self.labels


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
    """Publish the normalised embeddings of a method's model (`write_embeddings`).

    weights: of `train.finetune`; None is the model before any training. The others as in
    `evaluate.predict`.
    """
    from countclip.experiments.ordinal.model import make_model  # slow to import
    from countclip.model.clip import Clip
    from countclip.model.embeddings import fabric_of

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


def write_embeddings(embeddings: Embeddings, path: str) -> None:
    """Publish embeddings as NPZ."""
    with publish(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **embeddings._asdict())


def read_embeddings(path: str) -> Embeddings:
    """The embeddings of `write_embeddings`; ValueError names a file that holds none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Embeddings(**arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: not embeddings of images and texts ({error}); delete it and run again"
        ) from error
