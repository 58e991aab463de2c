"""Measures of ordinal predictions against scipy, scikit-learn, published examples and by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from countclip.experiments.ordinal import baselines, metrics, predictions
from countclip.experiments.ordinal.bins import Bins
from countclip.report import statistics

AGES = Bins(("young", "middle", "old"), (10, 20, 40), (19, 39, 80))


@pytest.fixture
def answers() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(6)
    labels = rng.choice([3, 5, 8.5, 20, 21, 40], 400, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
    values = labels + rng.normal(0, 6, 400).round(1)
    edges = [0, 6, 15, 30]
    return {
        "labels": labels,
        "values": values,
        "bins": np.digitize(labels, edges) - 1,
        "predicted_bins": np.digitize(values, edges[1:]),
    }


def test_measures_are_those_of_the_libraries(answers) -> None:
    labels, values, bins, predicted = answers.values()
    probabilities = np.random.default_rng(7).dirichlet(np.ones(4), 400)
    found = metrics.measures(**answers, count=4, probabilities=probabilities)
    errors = abs(labels - values)
    assert found["mae"] == pytest.approx(mean_absolute_error(labels, values))
    per_label = [
        mean_absolute_error(labels[labels == label], values[labels == label])
        for label in np.unique(labels)
    ]
    assert found["macro_mae"] == pytest.approx(np.mean(per_label))
    assert found["accuracy"] == np.mean(bins == predicted)
    assert found["off_by_one"] == np.mean(abs(bins - predicted) <= 1)
    assert found["cs5"] == np.mean(errors <= 5)
    kappa = cohen_kappa_score(bins, predicted, weights="quadratic")
    assert found["qwk"] == pytest.approx(kappa, abs=1e-12)
    rank = scipy.stats.spearmanr(labels, values).statistic
    assert found["spearman"] == pytest.approx(rank, abs=1e-12)
    # The sum over thresholds of the Brier score of "at most this bin".
    brier = sum(
        np.mean((probabilities[:, : k + 1].sum(axis=1) - (bins <= k)) ** 2) for k in range(4)
    )
    assert found["rps"] == pytest.approx(brier, abs=1e-12)
    assert np.isnan(metrics.measures(**answers, count=4)["rps"])


def test_dlordinals_examples() -> None:
    """The values that the documentation of dlordinal 2.7 has for its own functions."""
    shares = [
        [0.2, 0.4, 0.2, 0.2],
        [0.7, 0.1, 0.1, 0.1],
        [0.5, 0.05, 0.1, 0.35],
        [0.1, 0.05, 0.65, 0.2],
    ]
    rps = metrics.ranked_probability_score([0, 0, 3, 2], shares)
    assert rps == pytest.approx(0.506875, abs=1e-12)
    true, predicted = np.array([0, 0, 1, 2, 3, 0, 0]), np.array([0, 1, 1, 2, 3, 0, 1])
    assert metrics.macro_mae(true, abs(true - predicted)) == pytest.approx(0.125)
    matrix = statistics.confusion_matrix(true, [0, 1, 1, 2, 0, 0, 1], range(4))
    assert statistics.off_by_one(matrix, range(4)) == pytest.approx(6 / 7)


def test_perfect_and_useless_answers() -> None:
    labels = np.array([12, 25, 60, 75])
    bins = AGES.of(labels)
    perfect = metrics.measures(labels, labels, bins, bins, 3, np.eye(3)[bins])
    assert perfect == {
        "mae": 0, "macro_mae": 0, "accuracy": 1, "off_by_one": 1, "cs5": 1, "qwk": 1, "rps": 0,
        "spearman": pytest.approx(1),
    }  # fmt: skip
    same = metrics.measures(labels, np.full(4, 50), bins, np.full(4, 2), 3)
    assert same["qwk"] == 0
    assert np.isnan(same["spearman"])
    assert np.isnan(statistics.quadratic_kappa(np.diag([0, 7, 0]), range(3)))
    assert same["mae"] == (38 + 25 + 10 + 25) / 4


def test_a_rare_label_counts_in_the_macro_mae_as_a_common_one() -> None:
    labels, errors = np.array([20] * 99 + [70]), np.array([1.0] * 99 + [31])
    assert metrics.macro_mae(labels, errors) == 16


def test_errors_of_each_bin(answers) -> None:
    labels, values, bins, predicted = answers.values()
    table = metrics.per_bin(**answers, count=5).set_index("bin")
    assert table["n"].sum() == 400
    assert table.index.tolist() == [0, 1, 2, 3, 4]
    assert table["n"][4] == 0
    assert table.loc[4, ["mae", "bias", "accuracy"]].isna().all()
    for k in range(4):
        part = bins == k
        assert table["n"][k] == part.sum()
        assert table["mae"][k] == pytest.approx(abs(labels - values)[part].mean())
        assert table["bias"][k] == pytest.approx((values - labels)[part].mean())
        assert table["accuracy"][k] == pytest.approx((predicted == bins)[part].mean())


# ---- order ----


def _toy(n: int) -> np.ndarray:
    """Unit vectors on a quarter of a circle: the farther, the less similar."""
    angles = np.linspace(0, np.pi / 2, n)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def test_a_perfectly_ordered_toy_has_ordinality_one() -> None:
    toy = metrics.cosine_matrix(_toy(40))
    assert metrics.ordinality(toy) == (1, 1)
    assert all(metrics.ordinality(toy, span) == (1, 1) for span in metrics.spans(40))
    assert metrics.distance_correlation(toy, np.arange(40)) == pytest.approx(1)


def test_its_shuffle_has_about_one_half() -> None:
    toy = metrics.cosine_matrix(_toy(60))
    orders = [np.random.default_rng(seed).permutation(60) for seed in range(40)]
    for span in (1, 3, 20, None):
        shares = [metrics.ordinality(toy[np.ix_(order, order)], span) for order in orders]
        assert np.mean(shares) == pytest.approx(metrics.random_ordinality(60, span or 59), abs=0.02)
    # i = j counts, where the next item is never more similar: 59 of 59 * 60 / 2 pairs.
    assert metrics.random_ordinality(60, 59) == pytest.approx(0.5 + 0.5 * 2 / 60)
    assert metrics.random_ordinality(60, 1) == 1


def test_ordinality_counts_pairs_by_its_definition() -> None:
    matrix = metrics.cosine_matrix(np.random.default_rng(9).normal(size=(9, 4)))
    for span in (None, 1, 2, 5, 8):
        for direction, R in enumerate((matrix, matrix[::-1, ::-1])):
            pairs = [
                R[i, j] > R[i, j + 1]
                for i, j in itertools.product(range(8), repeat=2)
                if i <= j and j - i < (span or 99)
            ]
            assert metrics.ordinality(matrix, span)[direction] == np.mean(pairs)


def test_the_two_directions_differ() -> None:
    """Rows fall to the right of the diagonal, but not to its left."""
    matrix = [[1.0, 0.8, 0.6], [0.8, 1.0, 0.7], [0.9, 0.7, 1.0]]
    assert metrics.ordinality(matrix) == (1, 2 / 3)


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (2, [1]),
        (3, [1, 2]),
        (5, [1, 2, 4]),
        (6, [1, 2, 4, 5]),
        (101, [1, 2, 4, 8, 16, 32, 64, 100]),
    ],
)
def test_spans_double_up_to_all_pairs(m, expected) -> None:
    assert metrics.spans(m) == expected


def test_order_of_embeddings_is_that_of_the_labels_means() -> None:
    rng = np.random.default_rng(10)
    places = rng.permutation(np.repeat(np.arange(12), 5))
    labels = 7.5 * places + 1930
    table = metrics.order(_toy(12)[places], labels)
    assert table["span"].tolist() == [1, 2, 4, 8, 11]
    assert (table[["forward", "backward"]] == 1).all(axis=None)
    assert table["spearman"].to_numpy() == pytest.approx(1)
    distinct, means = metrics.label_means(_toy(12)[places], labels)
    assert distinct.tolist() == sorted(set(labels))
    assert means == pytest.approx(_toy(12))
    matrix = metrics.cosine_matrix(rng.normal(size=(15, 6)))
    i, j = np.triu_indices(15, 1)
    values = rng.random(15)
    theirs = scipy.stats.spearmanr(abs(values[i] - values[j]), 1 - matrix[i, j]).statistic
    assert metrics.distance_correlation(matrix, values) == pytest.approx(theirs, abs=1e-12)
    with pytest.raises(ValueError, match="1 distinct labels; two are needed"):
        metrics.order(np.ones((4, 3)), [5, 5, 5, 5])


# ---- rows without training ----


def test_the_constant_has_the_median_and_the_mode() -> None:
    train = np.array([12, 18, 22, 30, 35, 41, 79])  # bins 0 0 1 1 1 2 2, median 30
    found = baselines.constant(AGES, train, 3)
    assert found.expectation.tolist() == [30, 30, 30]
    assert found.predicted_bin.tolist() == [1, 1, 1]
    assert found.argmax.tolist() == [29.5] * 3  # the middle of 20 and 39
    assert found.probabilities[2] == pytest.approx([2 / 7, 3 / 7, 2 / 7])
    tests = np.array([10, 31, 70])
    errors = statistics.absolute_errors(tests, found.expectation)
    assert errors.tolist() == [20, 1, 40]
    even = baselines.constant(AGES, np.array([10, 11, 45, 80]), 1)  # two bins are as frequent
    assert even.expectation == [28]
    assert even.predicted_bin == [0]


def test_the_linear_probe_is_ridge_with_the_penalty_of_the_validation_part() -> None:
    rng = np.random.default_rng(11)
    direction = rng.normal(size=8)

    def draw(n: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
        embeddings = rng.normal(size=(n, 8))
        return embeddings, 40 + embeddings @ direction + rng.normal(0, noise, n)

    train, validation, (embeddings, labels) = draw(30, 4), draw(20, 4), draw(200, 0)
    found = baselines.linear_probe(train, validation, embeddings)
    assert (found.predicted_bin, found.argmax, found.probabilities) == (None, None, None)

    def closed_form(penalty: float, at: np.ndarray) -> np.ndarray:
        mean, shift = train[0].mean(axis=0), train[1].mean()
        x = train[0] - mean
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(8), x.T @ (train[1] - shift))
        return shift + (at - mean) @ weights

    best = min(
        baselines.RIDGE_PENALTIES,
        key=lambda penalty: np.abs(closed_form(penalty, validation[0]) - validation[1]).mean(),
    )
    assert found.expectation == pytest.approx(closed_form(best, embeddings), abs=1e-8)
    noiseless = baselines.linear_probe(draw(60, 0), draw(20, 0), embeddings)
    assert noiseless.expectation == pytest.approx(labels, abs=1e-2)


def test_probabilities_of_bins_are_decoded_by_hand() -> None:
    weights = np.exp([3, 4, 0])
    shares = np.array([weights / weights.sum(), [0, 0, 1], [1 / 3] * 3])
    found = predictions.decode(shares, shares @ [14.5, 29.5, 60], AGES, AGES)
    assert found.probabilities == pytest.approx(shares)
    assert found.predicted_bin.tolist() == [1, 2, 0]  # the lowest of equals
    assert found.argmax.tolist() == [29.5, 60, 14.5]


def test_probabilities_of_numbers_add_up_to_bins() -> None:
    numbers = Bins.numbers(10, 80)
    shares = scipy.special.softmax(np.random.default_rng(12).normal(0, 9, (50, 71)), axis=1)
    values = np.arange(10, 81)
    found = predictions.decode(shares, shares @ values, numbers, AGES)
    assert found.argmax == pytest.approx(values[shares.argmax(axis=1)])
    expected = np.column_stack([shares[:, (values >= low) & (values < high)].sum(axis=1)
                                for low, high in ((10, 20), (20, 40), (40, 99))])  # fmt: skip
    assert found.probabilities == pytest.approx(expected)
    assert (
        found.predicted_bin.tolist() == pd.cut(found.argmax, [0, 19, 39, 99], labels=False).tolist()
    )
