"""How good is a model, how sure is that, and is it better than another?

Nearly everything follows from the confusion matrix: 9 x 9 counts, rows the true number two to ten,
columns the predicted one.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, fisher_exact
from sklearn.metrics import precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

from countclip.data.number_words import NUMBERS

RESAMPLES = 10_000
CHANCE = 1 / len(NUMBERS)
_APART = np.abs(np.subtract.outer(NUMBERS, NUMBERS))


def confusion_matrix(numbers: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """(9, 9) counts of images, from true and predicted numbers of shape (n,), each in 2..10."""
    numbers, predictions = np.asarray(numbers), np.asarray(predictions)
    if not (np.isin(numbers, NUMBERS).all() and np.isin(predictions, NUMBERS).all()):
        raise ValueError(f"numbers and predictions must lie in {NUMBERS[0]}..{NUMBERS[-1]}")
    matrix = np.zeros((len(NUMBERS), len(NUMBERS)), dtype=int)
    np.add.at(matrix, (numbers - NUMBERS[0], predictions - NUMBERS[0]), 1)
    return matrix


def accuracy(matrix: np.ndarray) -> float:
    """Share of images with the right number, in [0, 1]."""
    return float(np.trace(matrix) / np.sum(matrix))


def mae(matrix: np.ndarray) -> float:
    """Mean absolute difference of the predicted and the true number."""
    return float(np.sum(matrix * _APART) / np.sum(matrix))


def off_by_one(matrix: np.ndarray) -> float:
    """Share of images whose prediction is at most one away, in [0, 1]."""
    return float(np.sum(matrix * (_APART <= 1)) / np.sum(matrix))


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class, each (9,) in [0, 1]; 0 where a class was never
    predicted or has no image. The recall of a class is the accuracy on its images."""
    true, predicted = np.indices(np.shape(matrix))
    figures = precision_recall_fscore_support(
        true.ravel(), predicted.ravel(), sample_weight=np.ravel(matrix), zero_division=0.0
    )
    return dict(zip(("precision", "recall", "f1"), figures[:3], strict=True))


def macro_f1(matrix: np.ndarray) -> float:
    """Mean F1 of the classes that have images, in [0, 1]."""
    return float(per_class(matrix)["f1"][np.sum(matrix, axis=1) > 0].mean())


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` images, both in [0, 1].

    For several seeds give their mean share, and `n` as the number of images: seeds see the same
    images, so they do not add to the sample.
    """
    low, high = proportion_confint(share * n, n, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


def bootstrap(scores: np.ndarray, seed: int = 0) -> np.ndarray:
    """Means of `scores` (k, n) over RESAMPLES samples of the n images, drawn with replacement:
    (RESAMPLES, k), seeded.

    Every row is resampled alike, so that differences of rows stay paired. With several seeds an
    image's score is their mean: what varies then is which images were asked, not the seed.
    """
    scores = np.asarray(scores, float)
    n, rng, block = scores.shape[1], np.random.default_rng(seed), 100
    means = [
        rng.multinomial(n, np.full(n, 1 / n), size=block) @ scores.T / n  # how often each image
        for _ in range(RESAMPLES // block)
    ]
    return np.concatenate(means)


def percentile_interval(means: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """The bootstrap's percentile interval, from one column of `bootstrap`."""
    outside = (1 - confidence) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return float(low), float(high)


def means_and_gains(values: pd.DataFrame, name: str) -> pd.DataFrame:
    """The mean of each column (a model) of `values` (n rows: queries, captions), and what it gains
    on the first one's: columns name, gain, and each with _low and _high, the bootstrap's 95 %
    interval over the rows, paired for the gain. There is none of a single row."""
    scores = values.to_numpy(float).T
    scores = np.concatenate([scores, scores - scores[0]])
    means = scores.mean(axis=1)
    bounds = np.full((len(scores), 2), np.nan)
    if len(values) > 1:
        bounds = np.array([percentile_interval(column) for column in bootstrap(scores).T])
    figures = np.column_stack([means, bounds]).reshape(2, -1, 3)
    figures[1, 0] = np.nan  # the first gains nothing on itself
    columns = [f"{key}{end}" for key in (name, "gain") for end in ("", "_low", "_high")]
    return pd.DataFrame(np.concatenate(figures, axis=1), index=values.columns, columns=columns)


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p value of a mean difference being zero, from one column of `bootstrap`: twice the
    share of samples on the rarer side of zero, never below 2 / (RESAMPLES + 1)."""
    rarer = min(np.sum(differences <= 1e-12), np.sum(differences >= -1e-12))
    return float(min(1.0, 2 * (1 + rarer) / (1 + len(differences))))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction (1979) of a family of p values (m,), in their order; nan stays
    nan and out of the family.

    Own, since statsmodels' collects the garbage of the whole process at each call.
    """
    p_values = np.asarray(p_values, float)
    rising = np.argsort(p_values)[: np.sum(~np.isnan(p_values))]  # nan is sorted to the end
    stepped = p_values[rising] * np.arange(len(rising), 0, -1)
    corrected = np.full_like(p_values, np.nan)
    corrected[rising] = np.minimum(1, np.maximum.accumulate(stepped))
    return corrected


def unpaired(matrix: np.ndarray, other: np.ndarray) -> float:
    """Fisher's exact two-sided p value of two accuracies (confusion matrices, (9, 9) each), as if
    they were of different images. Of the same images it is no bound: `mcnemar_bounds` are."""
    right = np.array([np.trace(matrix), np.trace(other)])
    n = np.array([np.sum(matrix), np.sum(other)])
    return float(fisher_exact([right, n - right]).pvalue)


def mcnemar_bounds(matrix: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest p value that `mcnemar` can have, given two confusion matrices
    of the same images and not which images the two models share.

    In a class of m images, of which the models have a and b right, between max(0, a + b - m) and
    min(a, b) are right in both. The more they share, the fewer images tell them apart, and the
    smaller is p, since the difference a - b stays. Both bounds are attained.
    """
    if not np.array_equal(np.sum(matrix, axis=1), np.sum(other, axis=1)):
        raise ValueError("the two confusion matrices are of different images")
    a, b, m = np.diagonal(matrix), np.diagonal(other), np.sum(matrix, axis=1)
    most, least = np.minimum(a, b), np.maximum(0, a + b - m)
    return tuple(_exact(np.sum(a - both), np.sum(b - both)) for both in (most, least))


def mcnemar(right: np.ndarray, right_other: np.ndarray) -> float:
    """Exact two-sided p value of two models being right on the same images, booleans (n,)."""
    right, other = np.asarray(right, bool), np.asarray(right_other, bool)
    if right.shape != other.shape:
        raise ValueError(f"a paired test needs the same images: {right.shape}, {other.shape}")
    return _exact(np.sum(right & ~other), np.sum(other & ~right))


def _exact(only: int, only_other: int) -> float:
    """McNemar's exact p value, from how many images one model alone has right, and the other."""
    differ = int(only + only_other)
    return float(binomtest(int(only), differ).pvalue) if differ else 1.0


def combined(p_values: list[float]) -> float:
    """One p value of several seeds: twice their median, valid however they depend on each other
    (Rüger 1978); the value itself when there is one."""
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * float(np.median(p_values)))
