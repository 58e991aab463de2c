"""The predictions of one method for the test part of one fold."""

from typing import Any

import numpy as np

from countclip.experiments.ordinal import baselines
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.folds import PARTS, read_fold
from countclip.experiments.ordinal.methods import method_of
from countclip.experiments.ordinal.predictions import decode, write_predictions


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
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int,
) -> None:
    """Publish what a method predicts for the test part of a fold (`predictions.write_predictions`).

    weights: of `train.finetune`; None for a method that is not trained.
    accelerator, precision: as lightning-fabric has them. batch: images at a time; both it and where
        the model runs change rounding alone. The others as in `train.finetune`.
    """
    fold, pixels = read_fold(table, images)
    chosen, bins = method_of(method, options), Bins.of_task(task)
    if chosen.losses and not weights:
        raise ValueError(f"method {method} is trained first: name the weights of its training")
    if weights and not chosen.losses:
        raise ValueError(f"method {method} is not trained, so it takes no weights like {weights}")
    train, validation, test = (fold[fold["part"] == part] for part in PARTS)
    if method == "constant":
        answers = baselines.constant(bins, train["label"].to_numpy(), len(test))
    else:
        from countclip.experiments.ordinal.model import make_model  # slow to import
        from countclip.model.clip import Clip
        from countclip.model.embeddings import embed_images, fabric_of

        fabric, clip = fabric_of(accelerator, precision, threads), Clip(**model)
        clip.model.to(fabric.device)
        with fabric.autocast():
            if method == "linear_probe":

                def embedded(rows: np.ndarray) -> np.ndarray:
                    """Embeddings of some rows of the mapped images, of which a batch is read."""
                    batches = np.split(rows, range(batch, len(rows), batch))
                    return np.concatenate(
                        [embed_images(clip, pixels[some], batch).numpy() for some in batches]
                    )

                parts = (train, validation, test)
                embeddings = [embedded(part["index"].to_numpy()) for part in parts]
                answers = baselines.linear_probe(
                    (embeddings[0], train["label"].to_numpy()),
                    (embeddings[1], validation["label"].to_numpy()),
                    embeddings[2],
                )
            else:
                ordinal = make_model(clip, chosen, task, logit_scale)
                if weights:
                    ordinal.load(weights)
                ordinal.to(fabric.device)
                found = ordinal.predict(pixels, test["index"].to_numpy(), batch)
                answers = decode(*found, ordinal.bins, bins)
    write_predictions(
        answers,
        index=test["index"].to_numpy(),
        labels=test["label"].to_numpy(),
        groups=test["group"],
        bins=bins,
        path=path,
    )
