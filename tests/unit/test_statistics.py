"""Statistics against values worked out by hand and against scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest

from countclip import statistics


def test_everything_follows_from_the_matrix() -> None:
    numbers, predictions = [2, 3, 4, 10, 10], [2, 4, 4, 8, 2]
    matrix = statistics.confusion_matrix(numbers, predictions)
    assert matrix.shape == (9, 9)
    assert matrix[1, 2] == 1  # a three taken for a four
    assert statistics.accuracy(matrix) == 2 / 5
    assert statistics.mae(matrix) == (0 + 1 + 0 + 2 + 8) / 5
    assert statistics.off_by_one(matrix) == 3 / 5


def test_a_number_outside_two_to_ten_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2\.\.10"):
        statistics.confusion_matrix([2], [1])


@pytest.mark.parametrize(("right", "n"), [(140, 509), (0, 20), (20, 20)])
def test_wilson_is_scipys(right, n) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert statistics.wilson(right / n, n) == pytest.approx(tuple(expected), abs=1e-12)


def test_mcnemar_is_a_binomial_test_on_the_differing_images() -> None:
    rng = np.random.default_rng(0)
    right, other = rng.random(200) < 0.5, rng.random(200) < 0.3
    only, either = int((right & ~other).sum()), int((right != other).sum())
    expected = binomtest(only, either).pvalue
    assert statistics.mcnemar(right, other) == pytest.approx(expected)
    assert statistics.mcnemar(other, right) == pytest.approx(expected)
    assert statistics.mcnemar(right, right) == 1


def test_a_paired_test_needs_pairs() -> None:
    with pytest.raises(ValueError, match="same images"):
        statistics.mcnemar(np.ones(3), np.ones(4))


def test_p_values_of_several_seeds() -> None:
    assert statistics.combined([0.04]) == 0.04
    assert statistics.combined([0.01, 0.02, 0.9]) == 0.04
    assert statistics.combined([0.7, 0.9]) == 1
