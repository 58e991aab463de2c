"""How good is a model, how sure is that, and is it better than another?

Nearly everything follows from the confusion matrix: 9 x 9 counts, rows the true number two to ten,
columns the predicted one.
"""

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar as _mcnemar
from statsmodels.stats.proportion import proportion_confint

from countclip.captions import NUMBERS

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


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` images, both in [0, 1].

    For several seeds give their mean share, and `n` as the number of images: seeds see the same
    images, so they do not add to the sample.
    """
    low, high = proportion_confint(share * n, n, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


def mcnemar(right: np.ndarray, right_other: np.ndarray) -> float:
    """Exact two-sided p value of two models being right on the same images, booleans (n,)."""
    right, other = np.asarray(right, bool), np.asarray(right_other, bool)
    if right.shape != other.shape:
        raise ValueError(f"a paired test needs the same images: {right.shape}, {other.shape}")
    table = [
        [np.sum(right & other), np.sum(right & ~other)],
        [np.sum(~right & other), np.sum(~right & ~other)],
    ]
    return float(_mcnemar(table, exact=True).pvalue)


def combined(p_values: list[float]) -> float:
    """One p value of several seeds: twice their median, valid however they depend on each other
    (Rüger 1978); the value itself when there is one."""
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * float(np.median(p_values)))
