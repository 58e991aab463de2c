import pytest

from countclip.data.lambda_schemes import SCHEMES, lambdas

FOUR = {2: 8, 3: 4, 4: 2, 5: 2}  # total 16: ratios 2, 4, 8, 8; log2: 1, 2, 3, 3


def test_norm_is_equation_3_by_hand():
    assert lambdas(FOUR, "norm") == {2: 0.5, 3: 0.75, 4: 0.875, 5: 0.875}


def test_modal_is_equation_4_by_hand():
    assert lambdas(FOUR, "modal", lambda_0=0.5) == {2: 0.5, 3: 1.0, 4: 2.0, 5: 2.0}


def test_log_is_equations_5_and_6_by_hand():
    # sigma = log2 of 1, 2, 3, 3: 0, 1, 1.58496, 1.58496; minimum 0, divided by the maximum
    expected = {2: 1.0, 3: 1 + 1 / 1.584962500721156, 4: 2.0, 5: 2.0}
    assert lambdas(FOUR, "log") == pytest.approx(expected)


def test_log_tops_out_above_two_where_sigma_is_negative():
    # class 2 holds more than half: log2(log2(16/12)) = -1.26869, and 1 for the other
    assert lambdas({2: 12, 3: 4}, "log") == pytest.approx({2: 1.0, 3: 3.268686})


@pytest.mark.parametrize("scheme", SCHEMES)
def test_normalise_mean_makes_the_mean_over_pairs_lambda_0(scheme):
    scaled = lambdas(FOUR, scheme, lambda_0=3.0, normalise="mean")
    assert sum(scaled[k] * n for k, n in FOUR.items()) / 16 == pytest.approx(3.0)
    raw = lambdas(FOUR, scheme)
    assert scaled[5] / scaled[2] == pytest.approx(raw[5] / raw[2])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_class_without_pairs_has_no_lambda_and_changes_no_other(scheme):
    assert lambdas(FOUR | {10: 0}, scheme) == lambdas(FOUR, scheme)


def test_one_class_holding_everything_and_two_equal_classes():
    assert lambdas({2: 5}, "log") == {2: 1.0}
    assert lambdas({2: 5}, "norm") == {2: 0.0}
    assert lambdas({2: 5}, "norm", normalise="mean") == {2: 1.0}
    assert lambdas({2: 5, 3: 5}, "log") == {2: 1.0, 3: 1.0}


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="'sqrt'.*constant, norm, modal, log"):
        lambdas(FOUR, "sqrt")
    with pytest.raises(ValueError, match="'max'"):
        lambdas(FOUR, "norm", normalise="max")
    with pytest.raises(ValueError, match="no pairs"):
        lambdas({2: 0}, "norm")
