"""Predictions of a method for the images of one fold: the file that metrics and tables read."""

import numpy as np
import pandas as pd

from countclip.experiments.ordinal.bins import Bins


def predictions(
    table: pd.DataFrame,
    bins: Bins,
    probabilities: np.ndarray,
    expectation: np.ndarray,
    argmax: np.ndarray,
) -> pd.DataFrame:
    """One row for each image of `table` (columns index, label and, where there are any, group).

    probabilities: (n, K) of the bins. expectation, argmax: (n,), the two decoded values.
    `bin` is the label's, `predicted_bin` that of the argmax.
    """
    return pd.DataFrame(
        {
            "index": table["index"].to_numpy(),
            "label": table["label"].to_numpy(dtype=float),
            "group": table["group"].to_numpy() if "group" in table else None,
            "bin": bins.of(table["label"]),
            "predicted_bin": bins.of(argmax),
            "argmax": argmax,
            "expectation": expectation,
            "probabilities": list(probabilities),
        }
    )


def most_probable(bins: Bins, probabilities: np.ndarray) -> np.ndarray:
    """Midpoint (n,) of each image's most probable bin, the lowest of equals."""
    return np.asarray(bins.midpoints)[probabilities.argmax(axis=1)]


def regrouped(finer: Bins, bins: Bins, probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (n, K) of `bins`: sums over the `finer` ones whose midpoints they hold."""
    sums = np.zeros((len(probabilities), len(bins)))
    np.add.at(sums.T, bins.of(finer.midpoints), probabilities.T)
    return sums
