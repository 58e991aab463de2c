"""Accuracies, errors, intervals and paired tests of classifiers.

Most figures follow from the confusion matrix: (K, K) counts, rows the true class, columns the
predicted one. `classes` are the K numbers that its rows stand for, in that order.

Wilson's interval, McNemar's test, F1, kappa and Spearman's correlation are closed forms here:
scipy.stats, scikit-learn and statsmodels take longer to import than a table takes to make. Tests
hold them to these libraries.
"""

import itertools
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from scipy.special import bdtr, ndtri, stdtrit

RESAMPLES = 10_000
"""Samples of the bootstrap."""
FLIPS = 100_000
"""Random signs of a test that is corrected for a hundred others."""
LEVEL = 0.05
"""Level of significance: a corrected p value below it is significant."""


def confusion_matrix(
    numbers: np.ndarray, predictions: np.ndarray, classes: Sequence[float]
) -> np.ndarray:
    """(K, K) counts of items, from true and predicted classes of shape (n,)."""
    places = pd.Index(classes)
    if unknown := sorted({*np.unique(numbers), *np.unique(predictions)}.difference(classes)):
        raise ValueError(
            f"{', '.join(map(str, unknown))}: none of the {len(places)} classes"
            f" {places[0]}..{places[-1]}"
        )
    matrix = np.zeros((len(places), len(places)), dtype=int)
    np.add.at(matrix, (places.get_indexer(numbers), places.get_indexer(predictions)), 1)
    return matrix


def accuracy(matrix: np.ndarray) -> float:
    """Share of items with the right class, in [0, 1]."""
    return float(np.trace(matrix) / np.sum(matrix))


def absolute_errors(numbers: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Absolute error of each item, (n,); predictions may lie between the classes.

    Their mean is the MAE, their `bootstrap` its interval.
    """
    return np.abs(np.subtract(numbers, predictions, dtype=float))


def mae(matrix: np.ndarray, classes: Sequence[float]) -> float:
    """Mean absolute difference of the predicted and the true class."""
    return float(np.sum(matrix * _distances(classes)) / np.sum(matrix))


def off_by_one(matrix: np.ndarray, classes: Sequence[float]) -> float:
    """Share of items predicted at most one away from the true class, in [0, 1]."""
    return float(np.sum(matrix * (_distances(classes) <= 1)) / np.sum(matrix))


def quadratic_kappa(matrix: np.ndarray, classes: Sequence[float]) -> float:
    """Cohen's kappa with quadratic weights: 1 of a perfect order, 0 of chance with these margins.

    nan where all items and all predictions are of one class.
    """
    costs = _distances(classes) ** 2
    chance = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / np.sum(matrix)
    expected = np.sum(costs * chance)
    return float(1 - np.sum(costs * matrix) / expected) if expected else np.nan


def spearman(values: np.ndarray, others: np.ndarray) -> float:
    """Spearman's rank correlation, equals sharing their mean rank; nan where all are equal."""
    ranks = np.array([pd.Series(column).rank() for column in (values, others)])
    return float(np.corrcoef(ranks)[0, 1]) if np.ptp(ranks, axis=1).all() else np.nan


def _distances(classes: Sequence[float]) -> np.ndarray:
    return np.abs(np.subtract.outer(classes, classes))


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class, each (K,) in [0, 1].

    Each is 0 where a class was never predicted or has no item. A class's recall is the accuracy on
    its items.
    """
    right, true, predicted = np.diagonal(matrix), np.sum(matrix, axis=1), np.sum(matrix, axis=0)
    shares = {"precision": (right, predicted), "recall": (right, true)}
    shares["f1"] = 2 * right, true + predicted
    return {
        name: np.divide(part, whole, out=np.zeros(len(right)), where=whole > 0)
        for name, (part, whole) in shares.items()
    }


def macro_f1(matrix: np.ndarray) -> float:
    """Mean F1 of the classes that have items, in [0, 1]."""
    return float(per_class(matrix)["f1"][np.sum(matrix, axis=1) > 0].mean())


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` images, both in [0, 1].

    For several seeds pass their mean share and the number of images: seeds see the same images, so
    they do not enlarge the sample.
    """
    z = ndtri((1 + confidence) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def bootstrap(
    scores: np.ndarray, seed: int = 0, groups: Sequence[Hashable] | None = None
) -> np.ndarray:
    """Means of `scores` (k, n) over seeded bootstrap samples of the n items: (RESAMPLES, k).

    All rows share each sample, so differences of rows stay paired. With several seeds an item's
    score is their mean: the samples then vary the items, not the seed.
    groups: (n,), of items that are not independent, such as a person's images. A sample then draws
    whole groups, so the number of its items varies.
    """
    sums, sizes = group_sums(scores, groups)
    n, rng, block = len(sizes), np.random.default_rng(seed), 100
    means = []
    for _ in range(RESAMPLES // block):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=block)  # how often each group
        means.append(drawn @ sums.T / (drawn @ sizes)[:, None])
    return np.concatenate(means)


def bootstrap_spearman(values: np.ndarray, others: np.ndarray, seed: int = 0) -> np.ndarray:
    """Spearman's correlation of each row of `values` (k, n) with `others` (n,), over the samples of
    `bootstrap`, each ranked anew: (RESAMPLES, k). nan where all of a sample are equal."""
    n, rng, block = len(others), np.random.default_rng(seed), 100
    codes = [np.unique(row, return_inverse=True)[1] for row in (others, *values)]
    found = []
    for _ in range(RESAMPLES // block):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=block)
        ranks = [_centred_ranks(drawn, of_row) for of_row in codes]
        squares = [np.sum(drawn * rank**2, axis=1) for rank in ranks]
        with np.errstate(invalid="ignore"):
            found.append(
                [
                    np.sum(drawn * ranks[0] * rank, axis=1) / np.sqrt(squares[0] * square)
                    for rank, square in zip(ranks[1:], squares[1:], strict=True)
                ]
            )
    return np.concatenate(found, axis=1).T


def _centred_ranks(drawn: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Ranks (samples, n) in each sample, less their mean, equals sharing theirs.

    drawn: how often each item is in each sample. codes: (n,), places of the values in their order.
    """
    order = np.argsort(codes, kind="stable")
    begins = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    sizes = np.add.reduceat(drawn[:, order], begins, axis=1)
    ranks = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    return (ranks - (drawn.shape[1] + 1) / 2)[:, codes]


def group_sums(
    scores: np.ndarray, groups: Sequence[Hashable] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sums (k, G) of `scores` (k, n) in each group, and the numbers of items (G,).

    Without `groups` each item is a group.
    """
    scores = np.asarray(scores, float)
    if groups is None:
        return scores, np.ones(scores.shape[1])
    codes, names = pd.factorize(np.asarray(groups), sort=True)
    if len(codes) != scores.shape[1] or (codes < 0).any():
        raise ValueError(f"{len(codes)} groups, some perhaps missing, of {scores.shape[1]} items")
    count = len(names)
    sums = [np.bincount(codes, row, count) for row in scores]
    return np.array(sums), np.bincount(codes, minlength=count).astype(float)


def percentile_interval(means: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """The bootstrap's percentile interval, from one column of `bootstrap`."""
    outside = (1 - confidence) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return float(low), float(high)


def means_and_gains(values: pd.DataFrame, name: str) -> pd.DataFrame:
    """Mean of each column (a model), and its gain over the first column.

    values: n rows (queries or captions). The result has a row a model; its columns are `name`,
    `gain`, and both with `_low` and `_high`: the bootstrap's 95 % interval over the rows, paired
    for the gain; nan for a single row.
    """
    scores = values.to_numpy(float).T
    scores = np.concatenate([scores, scores - scores[0]])
    means = scores.mean(axis=1)
    bounds = np.full((len(scores), 2), np.nan)
    if len(values) > 1:
        bounds = np.array([percentile_interval(column) for column in bootstrap(scores).T])
    figures = np.column_stack([means, bounds]).reshape(2, -1, 3)
    figures[1, 0] = np.nan  # the first has no gain over itself
    columns = [f"{key}{end}" for key in (name, "gain") for end in ("", "_low", "_high")]
    return pd.DataFrame(np.concatenate(figures, axis=1), index=values.columns, columns=columns)


def interval_of_mean(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of a few values, such as one a fold; nan for a single one."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return np.nan, np.nan
    half = stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p value of a zero mean difference, from one column of `bootstrap`.

    Twice the share of samples on the rarer side of zero, at least 2 / (RESAMPLES + 1).
    """
    rarer = min(np.sum(differences <= 1e-12), np.sum(differences >= -1e-12))
    return float(min(1.0, 2 * (1 + rarer) / (1 + len(differences))))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction (1979) of a family of p values (m,), in their order.

    nan stays nan and outside the family. Not statsmodels', which runs the garbage collector at
    each call.
    """
    p_values = np.asarray(p_values, float)
    rising = np.argsort(p_values)[: np.sum(~np.isnan(p_values))]  # nan is sorted to the end
    stepped = p_values[rising] * np.arange(len(rising), 0, -1)
    corrected = np.full_like(p_values, np.nan)
    corrected[rising] = np.minimum(1, np.maximum.accumulate(stepped))
    return corrected


def unpaired(matrix: np.ndarray, other: np.ndarray) -> float:
    """Fisher's exact two-sided p value of two accuracies on different images.

    matrix, other: (K, K). For the same images it is no bound; `mcnemar_bounds` are.
    """
    from scipy.stats import fisher_exact

    right = np.array([np.trace(matrix), np.trace(other)])
    n = np.array([np.sum(matrix), np.sum(other)])
    return float(fisher_exact([right, n - right]).pvalue)


def mcnemar_bounds(matrix: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The smallest and largest p value of `mcnemar` that two confusion matrices allow.

    Both are of the same images, but which images both models have right is unknown. In a class of
    m images, of which the models have a and b right, both have between max(0, a + b - m) and
    min(a, b) right. The larger this overlap, the fewer images differ and the smaller is p, since
    the difference a - b stays. Both bounds are attained.
    """
    if not np.array_equal(np.sum(matrix, axis=1), np.sum(other, axis=1)):
        raise ValueError("the two confusion matrices are of different images")
    a, b, m = np.diagonal(matrix), np.diagonal(other), np.sum(matrix, axis=1)
    most, least = np.minimum(a, b), np.maximum(0, a + b - m)
    return tuple(_exact(np.sum(a - both), np.sum(b - both)) for both in (most, least))


def mcnemar(right: np.ndarray, right_other: np.ndarray) -> float:
    """Exact two-sided p value of McNemar's test: two models' hits on the same images, (n,)."""
    right, other = np.asarray(right, bool), np.asarray(right_other, bool)
    if right.shape != other.shape:
        raise ValueError(f"a paired test needs the same images: {right.shape}, {other.shape}")
    return _exact(np.sum(right & ~other), np.sum(other & ~right))


def _exact(only: int, only_other: int) -> float:
    """McNemar's exact p value from the numbers of images that only one model has right.

    Twice the binomial tail of the rarer side, each side being as likely.
    """
    differ, rarer = int(only + only_other), int(min(only, only_other))
    return min(1.0, 2 * float(bdtr(rarer, differ, 0.5)))


def sign_flips(
    differences: np.ndarray,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
    flips: int = RESAMPLES,
) -> np.ndarray:
    """Two-sided p values (k,) of zero mean differences (k, n) between two models' items.

    The paired randomisation test (Fisher 1935): the sum of each group is as likely with the other
    sign. groups: as `bootstrap` has them. Exact where `flips` are enough for all signs, or where
    the sums are of one size: of hits and misses without groups it is McNemar's test. Else it counts
    `flips` random signs and the observed ones, so p is at least `least_p(flips)`.
    """
    sums, _ = group_sums(differences, groups)
    tiny = 1e-9 * np.abs(sums).max(axis=1, initial=0)
    p_values, several = np.full(len(sums), np.nan), []
    for row, (values, least) in enumerate(zip(sums, tiny, strict=True)):
        size = np.abs(values[np.abs(values) > least])
        if np.isnan(values).any():
            continue
        if len(size) == 0 or np.ptp(size) <= least:
            p_values[row] = _exact(np.sum(values > least), np.sum(values < -least))
        else:
            several.append(row)
    if several:
        p_values[several] = _flipped(sums[several], tiny[several], seed, flips)
    return p_values


def _flipped(sums: np.ndarray, tiny: np.ndarray, seed: int, flips: int) -> np.ndarray:
    """p values (k,) of sums (k, n) under all signs, or under `flips` random ones."""
    observed = np.abs(sums.sum(axis=1)) - tiny
    n, block = sums.shape[1], 100
    if 2**n <= flips:
        signs = np.array(list(itertools.product((-1, 1), repeat=n)))
        return np.mean(np.abs(signs @ sums.T) >= observed, axis=0)
    rng, reached = np.random.default_rng(seed), np.ones(len(sums))
    for begin in range(0, flips, block):
        signs = rng.choice((-1.0, 1.0), (min(block, flips - begin), n))
        reached += np.sum(np.abs(signs @ sums.T) >= observed, axis=0)
    return reached / (flips + 1)


def least_p(flips: int) -> float:
    """Smallest p value of a test that draws `flips` random signs: that of none of them."""
    return 1 / (flips + 1)


def is_least(p: float, least: float) -> bool:
    """Whether a p value is the least that its test can show, but for rounding."""
    return bool(np.isclose(p, least, rtol=1e-9, atol=0))


def combined(p_values: list[float]) -> float:
    """One p value of several seeds: twice their median; a single one as it is.

    Valid under any dependence between the seeds (Rüger 1978).
    """
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * float(np.median(p_values)))
