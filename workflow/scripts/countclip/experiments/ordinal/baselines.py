"""Methods without a training by gradients: the constant and the linear probe."""

import numpy as np

from countclip.experiments.ordinal.bins import Bins

RIDGE_PENALTIES = tuple(np.logspace(-4, 4, 17))
"""Of which the probe takes the one with the lowest validation error."""


def constant(bins: Bins, labels: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The shares (n, K) of the bins among training labels, and their median (n,).

    Its argmax is the mode. No image is looked at, so nothing that learns may be worse.
    """
    shares = np.bincount(bins.of(labels), minlength=len(bins)) / len(labels)
    return np.tile(shares, (n, 1)), np.full(n, np.median(labels))


def linear_probe(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    embeddings: np.ndarray,
) -> np.ndarray:
    """Values (n,) of image embeddings (n, d) by ridge regression on those of the training part.

    train, validation: embeddings and labels; the penalty has the lowest validation MAE.
    """
    from sklearn.linear_model import Ridge

    def error(ridge: Ridge) -> float:
        return float(np.abs(ridge.predict(validation[0]) - validation[1]).mean())

    probes = [Ridge(alpha=penalty).fit(*train) for penalty in RIDGE_PENALTIES]
    return min(probes, key=error).predict(embeddings)
