"""Harder training parts of a fold: few images a label, frequent labels made rare, labels unseen.

Each takes the table of a fold (`data.make_folds`) and drops rows. The test part stays whole. The
validation part shrinks as the training part does: whoever has few images has few to choose by.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd


def few_shot(fold: pd.DataFrame, shots: int, seed: int) -> pd.DataFrame:
    """Keep `shots` random training images of each label (not bin), all where there are fewer.

    The validation part keeps as many at most.
    """
    return _capped(fold, lambda label, n: shots, seed)


def shifted(fold: pd.DataFrame, labels: int, share: float, seed: int) -> pd.DataFrame:
    """Keep only a share of the images of the most frequent labels, one at least.

    labels: how many; as published 10, 20, 30, 40. share: as published 0.1, 0.2. Of equally frequent
    labels the lower ones count.
    """
    counts = fold["label"][fold["part"] != "test"].value_counts().sort_index()
    frequent = set(counts.sort_values(ascending=False, kind="stable").index[:labels])
    return _capped(fold, lambda label, n: max(int(n * share), 1) if label in frequent else n, seed)


def within(fold: pd.DataFrame, lowest: float, highest: float) -> pd.DataFrame:
    """Train on labels of a range only, so that the test part has labels never seen."""
    return _remaining(fold, (fold["part"] == "test") | fold["label"].between(lowest, highest))


def _capped(fold: pd.DataFrame, limit: Callable[[float, int], int], seed: int) -> pd.DataFrame:
    """Keep at random as many images of each label and part as `limit` says of (label, n)."""
    rng = np.random.default_rng(seed)
    order = pd.Series(rng.permutation(len(fold)), fold.index)
    rank = order.groupby([fold["part"], fold["label"]]).rank(method="first")
    sizes = fold.groupby(["part", "label"])["index"].transform("size")
    limits = np.array([limit(label, n) for label, n in zip(fold["label"], sizes, strict=True)])
    return _remaining(fold, (fold["part"] == "test") | (rank <= limits))


def _remaining(fold: pd.DataFrame, keep: pd.Series) -> pd.DataFrame:
    remaining = fold[keep].reset_index(drop=True)
    if not (remaining["part"] == "train").any():
        raise ValueError("no training image is left: widen the range of labels")
    return remaining
