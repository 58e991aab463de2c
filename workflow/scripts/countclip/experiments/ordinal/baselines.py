"""The rows that need no text: constant and linear probe."""

import numpy as np

from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.predictions import Answers, decode

RIDGE_PENALTIES = np.logspace(-4, 4, 17)
"""Of which the linear probe takes the one with the lowest MAE on the validation part."""


def constant(bins: Bins, labels: np.ndarray, n: int) -> Answers:
    """The same answer for n images, the best that ignores the image.

    labels: of the training part. argmax: midpoint of their most frequent bin, the lowest of equals,
    which serves the accuracy. expectation: their median, which serves the MAE. probabilities:
    shares of their bins.
    """
    shares = np.bincount(bins.of(labels), minlength=len(bins)) / len(labels)
    return decode(np.tile(shares, (n, 1)), np.full(n, np.median(labels)), bins, bins)


def linear_probe(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    embeddings: np.ndarray,
) -> Answers:
    """Ridge regression of the label on frozen image embeddings (n, d): an expectation alone.

    train, validation: embeddings and labels.
    """
    from sklearn.linear_model import Ridge  # slow to import

    def error(ridge: Ridge) -> float:
        return float(np.abs(ridge.predict(validation[0]) - validation[1]).mean())

    probes = [Ridge(alpha=penalty).fit(*train) for penalty in RIDGE_PENALTIES]
    return Answers(expectation=min(probes, key=error).predict(embeddings))
