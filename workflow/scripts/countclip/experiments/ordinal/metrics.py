"""Errors of ordinal predictions, and how well similarities follow the order of the labels.

Of n images: labels (n,) are true values such as ages, values (n,) predicted ones. bins and
predicted_bins (n,) are indices of the K bins, 0..K-1. probabilities (n, K) are those of the bins.
"""

import numpy as np
import pandas as pd

from countclip.report import statistics

CUMULATIVE = 5
"""Largest error that the cumulative score counts as right, in units of the label."""


def measures(
    labels: np.ndarray,
    values: np.ndarray,
    bins: np.ndarray,
    predicted_bins: np.ndarray,
    count: int,
    probabilities: np.ndarray | None = None,
) -> dict[str, float]:
    """All measures of some predictions; count: K.

    mae, macro_mae: in units of the label. accuracy, off_by_one (of bins), cs5 (of values): in
    [0, 1]. qwk, spearman: at most 1. rps: 0 is perfect, nan without probabilities.
    """
    errors = statistics.absolute_errors(labels, values)
    matrix = statistics.confusion_matrix(bins, predicted_bins, range(count))
    return {
        "mae": float(errors.mean()),
        "macro_mae": macro_mae(labels, errors),
        "accuracy": statistics.accuracy(matrix),
        "off_by_one": statistics.off_by_one(matrix, range(count)),
        "cs5": cumulative_score(errors),
        "qwk": statistics.quadratic_kappa(matrix, range(count)),
        "rps": np.nan if probabilities is None else ranked_probability_score(bins, probabilities),
        "spearman": statistics.spearman(labels, values),
    }


def macro_mae(labels: np.ndarray, errors: np.ndarray) -> float:
    """Mean over the distinct labels of each one's mean absolute error, so rare labels count."""
    return float(pd.Series(errors).groupby(np.asarray(labels)).mean().mean())


def cumulative_score(errors: np.ndarray, largest: float = CUMULATIVE) -> float:
    """Share of images whose absolute error is at most `largest`, in [0, 1]."""
    return float(np.mean(np.asarray(errors) <= largest))


def ranked_probability_score(bins: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over images of the squared distance between predicted and true cumulative shares.

    Summed over the bins and not divided by K - 1 (Janitza et al. 2016, as dlordinal has it).
    """
    probabilities = np.asarray(probabilities, float)
    true = np.arange(probabilities.shape[1]) >= np.asarray(bins)[:, None]
    return float(np.mean(np.sum((np.cumsum(probabilities, axis=1) - true) ** 2, axis=1)))


def per_bin(
    labels: np.ndarray,
    values: np.ndarray,
    bins: np.ndarray,
    predicted_bins: np.ndarray,
    count: int,
) -> pd.DataFrame:
    """One row for each of the K bins: n, mae, bias (mean of value - label) and accuracy.

    All but n are nan for a bin without images.
    """
    table = pd.DataFrame(
        {
            "mae": statistics.absolute_errors(labels, values),
            "bias": np.subtract(values, labels, dtype=float),
            "accuracy": np.equal(bins, predicted_bins).astype(float),
        }
    )
    grouped = table.groupby(np.asarray(bins))
    means = grouped.mean().reindex(range(count))
    n = grouped.size().reindex(range(count), fill_value=0)
    return pd.concat([n.rename("n"), means], axis=1).rename_axis("bin").reset_index()


# ---- order of similarities ----


def label_means(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels (m,) in rising order, and the mean embedding (m, d) of each."""
    means = pd.DataFrame(np.asarray(embeddings, float)).groupby(np.asarray(labels)).mean()
    return means.index.to_numpy(), means.to_numpy()


def cosine_matrix(embeddings: np.ndarray) -> np.ndarray:
    """Cosine similarities (m, m) of embeddings (m, d)."""
    embeddings = np.asarray(embeddings, float)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit @ unit.T


def ordinality(similarities: np.ndarray, span: int | None = None) -> tuple[float, float]:
    """Share of pairs i <= j whose similarity falls from j to j + 1: forward and backward.

    similarities: (m, m), rows and columns in the order of the labels. Backward is the same with the
    order reversed: from j to j - 1 for j <= i. 1 is perfectly ordered; a random order has
    `random_ordinality`, about 1/2. span: only pairs with j - i < span; all of them by default.
    """
    similarities = np.asarray(similarities, float)
    i, j = np.triu_indices(len(similarities) - 1)
    if span is not None:
        near = j - i < span
        i, j = i[near], j[near]
    forward, backward = (
        float(np.mean(matrix[i, j] > matrix[i, j + 1]))
        for matrix in (similarities, similarities[::-1, ::-1])
    )
    return forward, backward


def random_ordinality(m: int, span: int) -> float:
    """Ordinality that m items in a random order are expected to have.

    1/2 of the pairs, but all with i = j, since an item is most similar to itself.
    """
    pairs = sum(m - 1 - apart for apart in range(min(span, m - 1)))
    return (pairs + m - 1) / (2 * pairs)


def spans(m: int) -> list[int]:
    """Spans at which `ordinality` of m items is reported: 1, 2, 4, ... and m - 1."""
    doubled = [2**power for power in range(m.bit_length()) if 2**power < m - 1]
    return [*doubled, m - 1]


def distance_correlation(similarities: np.ndarray, labels: np.ndarray) -> float:
    """Spearman's correlation of label distance and cosine distance, over all pairs of items.

    Similarities that are equal to twelve decimals are ties, or rounding would rank them.
    """
    i, j = np.triu_indices(len(labels), 1)
    labels = np.asarray(labels, float)
    distances = 1 - np.round(np.asarray(similarities, float)[i, j], 12)
    return statistics.spearman(np.abs(labels[i] - labels[j]), distances)


def order(embeddings: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """One row a span, of the labels' mean embeddings: span, forward, backward, random, spearman.

    embeddings (n, d), labels (n,) with at least two distinct ones: of images, or of the K texts
    with the midpoints of their bins. spearman is of all pairs, the same in each row.
    """
    distinct, means = label_means(embeddings, labels)
    if len(distinct) < 2:
        raise ValueError(f"order of similarities: {len(distinct)} distinct labels; two are needed")
    similarities = cosine_matrix(means)
    rows = [
        (span, *ordinality(similarities, span), random_ordinality(len(distinct), span))
        for span in spans(len(distinct))
    ]
    table = pd.DataFrame(rows, columns=["span", "forward", "backward", "random"])
    return table.assign(spearman=distance_correlation(similarities, distinct))
