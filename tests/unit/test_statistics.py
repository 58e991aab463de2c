"""Statistics against values worked out by hand and against scipy."""

import itertools

import numpy as np
import pytest
import scipy.stats
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score, recall_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from countclip.data.number_words import NUMBERS
from countclip.report import statistics


def test_everything_follows_from_the_matrix() -> None:
    numbers, predictions = [2, 3, 4, 10, 10], [2, 4, 4, 8, 2]
    matrix = statistics.confusion_matrix(numbers, predictions, NUMBERS)
    assert matrix.shape == (9, 9)
    assert matrix[1, 2] == 1  # a three taken for a four
    assert statistics.accuracy(matrix) == 2 / 5
    assert statistics.mae(matrix, NUMBERS) == (0 + 1 + 0 + 2 + 8) / 5
    assert statistics.off_by_one(matrix, NUMBERS) == 3 / 5


def test_a_number_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1: none of the 9 classes 2\.\.10"):
        statistics.confusion_matrix([2], [1], NUMBERS)
    with pytest.raises(ValueError, match=r"2\.5: none of the 2 classes 2\.\.9"):
        statistics.confusion_matrix([2.5], [2], [2, 9])


@pytest.mark.parametrize(
    "classes", [range(16, 78), np.arange(77, 15, -1), [1930, 1940, 1955, 2000.5, 3]], ids=str
)
def test_any_numbers_can_be_the_classes(classes) -> None:
    """Ages, in whatever order, or years with gaps: the same as from the items themselves."""
    rng = np.random.default_rng(2)
    numbers, predictions = rng.choice(classes, (2, 500))
    predictions = np.where(rng.random(500) < 0.3, numbers, predictions)
    matrix = statistics.confusion_matrix(numbers, predictions, classes)
    assert matrix.shape == (len(classes), len(classes))
    expected = confusion_matrix(numbers.astype(str), predictions.astype(str),
                                labels=np.asarray(classes, numbers.dtype).astype(str))  # fmt: skip
    assert (matrix == expected).all()
    errors = statistics.absolute_errors(numbers, predictions)
    assert statistics.accuracy(matrix) == np.mean(errors == 0)
    assert statistics.mae(matrix, classes) == pytest.approx(errors.mean(), rel=1e-12)
    assert statistics.off_by_one(matrix, classes) == np.mean(errors <= 1)
    assert statistics.per_class(matrix)["recall"].shape == (len(classes),)
    f1 = f1_score(numbers.astype(str), predictions.astype(str), average="macro")
    assert statistics.macro_f1(matrix) == pytest.approx(f1, abs=1e-12)


def test_errors_of_predictions_between_the_classes() -> None:
    errors = statistics.absolute_errors([20, 31, 40], [22.5, 30, 40])
    assert errors.tolist() == [2.5, 1, 0]
    low, high = statistics.percentile_interval(statistics.bootstrap([errors])[:, 0])
    assert low <= errors.mean() <= high


@pytest.mark.parametrize(("right", "n"), [(140, 509), (0, 20), (20, 20)])
def test_wilson_is_scipys(right, n) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert statistics.wilson(right / n, n) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize("share", [0.3, 0.45, 0.5])
def test_mcnemar_is_statsmodels(share) -> None:
    rng = np.random.default_rng(0)
    right, other = rng.random(200) < 0.5, rng.random(200) < share
    table = [[np.sum((right == r) & (other == o)) for o in (True, False)] for r in (True, False)]
    expected = mcnemar(table, exact=True).pvalue
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


def test_the_classes_figures_are_sklearns_on_the_answers() -> None:
    rng = np.random.default_rng(1)
    numbers = rng.integers(2, 11, 300)
    predictions = np.where(rng.random(300) < 0.4, numbers, rng.integers(2, 8, 300))
    matrix = statistics.confusion_matrix(numbers, predictions, NUMBERS)
    expected = f1_score(numbers, predictions, average="macro", zero_division=0)
    assert statistics.macro_f1(matrix) == pytest.approx(expected, abs=1e-12)
    recall = recall_score(numbers, predictions, average=None)
    assert statistics.per_class(matrix)["recall"] == pytest.approx(recall, abs=1e-12)


def test_a_class_without_images_is_no_part_of_the_macro_f1() -> None:
    matrix = statistics.confusion_matrix([2, 2, 3], [2, 2, 3], NUMBERS)
    assert statistics.macro_f1(matrix) == 1
    matrix = statistics.confusion_matrix([2, 2, 3], [2, 4, 3], NUMBERS)  # nothing is a four
    assert statistics.macro_f1(matrix) == pytest.approx((2 * 1 * 0.5 / 1.5 + 1) / 2)


def test_the_bootstrap_of_right_and_wrong_is_a_binomial() -> None:
    """The mean of a sample of 0 and 1 with replacement is binomial, so its quantiles are known."""
    right = np.zeros(500)
    right[:140] = 1
    low, high = statistics.percentile_interval(statistics.bootstrap([right])[:, 0])
    expected = scipy.stats.binom(500, 140 / 500).ppf([0.025, 0.975]) / 500
    assert (low, high) == pytest.approx(tuple(expected), abs=1 / 500)


def test_the_bootstrap_is_scipys() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 4, 400) / 3  # the mean of three seeds
    theirs = scipy.stats.bootstrap(
        (scores,), np.mean, method="percentile", n_resamples=statistics.RESAMPLES, rng=rng
    ).confidence_interval
    means = statistics.bootstrap([scores])
    assert statistics.percentile_interval(means[:, 0]) == pytest.approx(tuple(theirs), abs=2e-3)
    assert np.array_equal(means, statistics.bootstrap([scores]))  # seeded
    assert not np.array_equal(means, statistics.bootstrap([scores], seed=1))


def test_the_paired_bootstrap_resamples_both_models_alike() -> None:
    rng = np.random.default_rng(4)
    one = (rng.random(400) < 0.5).astype(float)
    other = np.where(rng.random(400) < 0.1, 1 - one, one)  # nearly always right together
    means = statistics.bootstrap([one, other, one - other])
    assert means[:, 0] - means[:, 1] == pytest.approx(means[:, 2])
    low, high = statistics.percentile_interval(means[:, 0] - means[:, 1])
    apart = statistics.percentile_interval(means[:, 0])
    assert high - low < (apart[1] - apart[0]) * 0.7
    theirs = scipy.stats.bootstrap(
        (one, other), lambda a, b, axis: (a - b).mean(axis), paired=True, vectorized=True,
        method="percentile", n_resamples=statistics.RESAMPLES, rng=rng,
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx(tuple(theirs), abs=3e-3)


def test_the_p_value_of_the_bootstrap() -> None:
    one = np.zeros(300)
    one[:60] = 1
    same = statistics.bootstrap([np.zeros(300)])[:, 0]
    assert statistics.bootstrap_p(same) == 1
    clear = statistics.bootstrap([one])[:, 0]
    assert statistics.bootstrap_p(clear) == 2 / (statistics.RESAMPLES + 1)
    assert statistics.bootstrap_p(-clear) == statistics.bootstrap_p(clear)
    # 18 images speak for and 8 against: near the exact test on these 26 without its continuity
    difference = np.repeat([1.0, -1.0, 0.0], [18, 8, 274])
    p = statistics.bootstrap_p(statistics.bootstrap([difference])[:, 0])
    assert p == pytest.approx(2 * scipy.stats.norm.sf(10 / np.sqrt(26 - 100 / 300)), abs=0.015)


def test_holm_is_statsmodels_and_leaves_out_what_was_not_tested() -> None:
    corrected = statistics.holm([0.01, np.nan, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True)
    assert np.isnan(statistics.holm([np.nan])).all()
    rng = np.random.default_rng(5)
    for m in (1, 2, 23, 42):
        p_values = rng.random(m) ** rng.integers(1, 5)
        p_values[rng.integers(m)] = p_values[0]  # two that are equal
        theirs = multipletests(p_values, method="holm")[1]
        assert statistics.holm(p_values) == pytest.approx(theirs, rel=1e-12)
        places = np.sort(rng.choice(2 * m, m, replace=False))
        sparse = np.full(2 * m, np.nan)
        sparse[places] = p_values
        assert statistics.holm(sparse)[places] == pytest.approx(theirs, rel=1e-12)


def test_the_unpaired_test_is_fishers() -> None:
    one = statistics.confusion_matrix([2] * 20, [2] * 15 + [3] * 5, NUMBERS)
    other = statistics.confusion_matrix([2] * 20, [2] * 6 + [3] * 14, NUMBERS)
    expected = scipy.stats.fisher_exact([[15, 6], [5, 14]]).pvalue
    assert statistics.unpaired(one, other) == pytest.approx(expected)


@pytest.mark.parametrize("rights", [(4, 1, 2, 3), (5, 5, 0, 0), (2, 2, 2, 2), (5, 1, 5, 0)])
def test_the_bounds_of_mcnemar_are_those_of_every_way_to_pair(rights) -> None:
    """Two classes of five images each: all the ways in which two models can share them."""
    numbers = np.repeat([2, 3], 5)

    def answers(first: int, second: int) -> np.ndarray:
        return np.array([True] * first + [False] * (5 - first)
                        + [True] * second + [False] * (5 - second))  # fmt: skip

    def matrix(right: np.ndarray) -> np.ndarray:
        return statistics.confusion_matrix(numbers, np.where(right, numbers, 10), NUMBERS)

    one, other = answers(*rights[:2]), answers(*rights[2:])
    ways = itertools.product(
        set(itertools.permutations(other[:5])), set(itertools.permutations(other[5:]))
    )
    found = [statistics.mcnemar(one, np.array([*a, *b])) for a, b in ways]
    bounds = statistics.mcnemar_bounds(matrix(one), matrix(other))
    assert bounds == pytest.approx((min(found), max(found)))


def test_bounds_need_the_same_images() -> None:
    with pytest.raises(ValueError, match="different images"):
        statistics.mcnemar_bounds(np.eye(9), 2 * np.eye(9))


@pytest.mark.parametrize("classes", [range(5), NUMBERS, [1, 2, 4, 8]], ids=str)
def test_kappa_is_sklearns(classes) -> None:
    rng = np.random.default_rng(6)
    numbers, predictions = rng.choice(classes, (2, 300))
    predictions = np.where(rng.random(300) < 0.5, numbers, predictions)
    matrix = statistics.confusion_matrix(numbers, predictions, classes)
    if list(np.diff(classes)) == [1] * (len(classes) - 1):  # theirs knows places, not numbers
        theirs = cohen_kappa_score(numbers, predictions, weights="quadratic")
        assert statistics.quadratic_kappa(matrix, classes) == pytest.approx(theirs, abs=1e-12)
    observed = np.mean((numbers - predictions) ** 2)
    chance = np.mean(np.subtract.outer(numbers, predictions) ** 2)
    expected = 1 - observed / chance
    assert statistics.quadratic_kappa(matrix, classes) == pytest.approx(expected, abs=1e-12)


def test_spearman_is_scipys_with_ties() -> None:
    rng = np.random.default_rng(7)
    values, others = rng.integers(0, 9, 200), rng.normal(size=200).round(1)
    for pair in ((values, others), (values, values + others), (others, -others)):
        theirs = scipy.stats.spearmanr(*pair).statistic
        assert statistics.spearman(*pair) == pytest.approx(theirs, abs=1e-12)
    assert np.isnan(statistics.spearman(values, np.zeros(200)))


@pytest.mark.parametrize("values", [[0.3, 0.5], [4.1, 3.9, 5.2, 4.4, 4.0], np.arange(10) ** 2])
def test_the_interval_of_a_mean_is_scipys(values) -> None:
    theirs = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
    assert statistics.interval_of_mean(values) == pytest.approx(theirs, rel=1e-9)
    assert np.isnan(statistics.interval_of_mean(values[:1])).all()


def test_a_sample_of_groups_draws_them_whole() -> None:
    """Two groups have three samples, and each of them a mean that is known."""
    scores, groups = [[1.0, 2, 3, 10]], ["a", "a", "a", "b"]
    means = statistics.bootstrap(scores, groups=groups)[:, 0]
    found, counts = np.unique(means, return_counts=True)
    assert found.tolist() == [2, 4, 10]  # a a, a b, b b
    assert counts / len(means) == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_groups_of_one_change_nothing_and_equal_items_of_a_group_count_once() -> None:
    rng = np.random.default_rng(8)
    scores = rng.normal(size=(2, 60))
    alone = statistics.bootstrap(scores)
    assert statistics.bootstrap(scores, groups=np.arange(60)) == pytest.approx(alone)
    thrice = statistics.bootstrap(np.repeat(scores, 3, axis=1), groups=np.repeat(np.arange(60), 3))
    assert thrice == pytest.approx(alone)
    low, high = statistics.percentile_interval(thrice[:, 0])
    unaware = statistics.bootstrap(np.repeat(scores, 3, axis=1))
    narrow = np.subtract(*statistics.percentile_interval(unaware[:, 0]))
    assert (low - high) / narrow == pytest.approx(3**0.5, abs=0.1)


def test_items_without_a_group_are_refused() -> None:
    with pytest.raises(ValueError, match="3 groups, some perhaps missing, of 3 items"):
        statistics.bootstrap([[1.0, 2, 3]], groups=["a", None, "b"])
    with pytest.raises(ValueError, match="2 groups"):
        statistics.sign_flips([[1.0, 2, 3]], ["a", "b"])


@pytest.mark.parametrize("n", [4, 9, 13])
def test_sign_flips_of_few_items_are_scipys(n) -> None:
    differences = np.random.default_rng(n).normal(0.4, 1, (3, n))
    found = statistics.sign_flips(differences)
    for p, row in zip(found, differences, strict=True):
        theirs = scipy.stats.permutation_test(
            (row, np.zeros(n)), lambda a, b, axis: (a - b).mean(axis), vectorized=True,
            permutation_type="samples", n_resamples=np.inf,
        ).pvalue  # fmt: skip
        assert p == pytest.approx(theirs, abs=1e-12)


def test_sign_flips_of_many_items() -> None:
    differences = np.random.default_rng(9).normal([[0.0], [0.15], [1.0]], 1, (3, 300))
    found = statistics.sign_flips(differences)
    assert np.array_equal(found, statistics.sign_flips(differences))  # seeded
    theirs = scipy.stats.ttest_1samp(differences, 0, axis=1).pvalue
    assert found[:2] == pytest.approx(theirs[:2], abs=0.01)
    assert found[2] == 1 / (statistics.RESAMPLES + 1)
    assert statistics.sign_flips(-differences) == pytest.approx(found)


def test_more_flips_show_smaller_p_values() -> None:
    """p of one row does not depend on the other rows, nor on how the flips are cut into blocks."""
    differences = np.random.default_rng(11).normal([[0.0], [0.1], [0.8]], 1, (3, 400))
    many = statistics.sign_flips(differences, flips=60_050)
    assert many[2] == pytest.approx(1 / 60_051, rel=1e-12)
    assert many[2] == pytest.approx(statistics.least_p(60_050))
    theirs = scipy.stats.ttest_1samp(differences, 0, axis=1).pvalue
    assert many[:2] == pytest.approx(theirs[:2], abs=0.006)
    few = statistics.sign_flips(differences, flips=130)
    assert few[2] == pytest.approx(1 / 131)
    alone = [statistics.sign_flips([row], flips=130)[0] for row in differences]
    assert few.tolist() == alone
    assert few[0] * 131 == pytest.approx(round(few[0] * 131))


def test_all_signs_are_tried_where_the_flips_are_enough() -> None:
    differences = [np.arange(1.0, 11)]  # 1024 signs, of which two have the largest sum
    assert statistics.sign_flips(differences, flips=1024) == pytest.approx([2 / 1024])
    assert statistics.sign_flips(differences, flips=1023)[0] != pytest.approx(2 / 1024)


def test_sign_flips_of_hits_are_mcnemars_test() -> None:
    rng = np.random.default_rng(10)
    right, other = rng.random((2, 500)) < [[0.5], [0.42]]
    difference = right.astype(float) - other
    expected = statistics.mcnemar(right, other)
    assert statistics.sign_flips([difference, 0 * difference]) == pytest.approx([expected, 1])


def test_a_group_has_one_sign() -> None:
    """Ten images of one person are no ten witnesses."""
    difference = np.ones(40)
    persons = np.repeat(["a", "b", "c", "d"], 10)
    assert statistics.sign_flips([difference], persons) == pytest.approx([2 / 2**4])
    assert statistics.sign_flips([difference]) < 1e-9
    assert np.isnan(statistics.sign_flips([np.full(40, np.nan)], persons))
