"""The first screen of the report: its sentence, its remarks and its dot plot."""

import pytest

from countclip.report import main_result, pages, scores
from reports import table1

BASE = ("baseline", 30.43, None)
CONTROL = ("control_text_only", 99.0, None)  # no variant, whatever its numbers


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [("a", 45.06, 8.2e-7), ("b", 31.0, 0.9)],
            "45.1 % correct with the best of 2 variants, 14.6 points above the pretrained baseline:"
            " a significant gain (95 % interval 10.6 to 18.6 points, p < 0.001).",
        ),
        (
            [("a", 32.0, 0.0496)],
            "32.0 % correct with the only variant, 1.6 points above the pretrained baseline: a"
            " significant gain (95 % interval −2.4 to 5.6 points, p = 0.0496).",
        ),
        (
            [("a", 32.0, 0.05), ("b", 20.0, 0.001), ("c", 31.0, 0.9)],
            "No significant gain: 32.0 % correct with the best of 3 variants, 1.6 points above the"
            " pretrained baseline (95 % interval −2.4 to 5.6 points, p = 0.05).",
        ),
        ([("a", 32.0, 0.05004)], "No significant gain: 32.0 % "),
        (
            [("a", 46.0, 0.2), ("b", 45.0, 0.01)],
            "The largest gain is not significant: 46.0 % correct with the best of 2 variants, ",
        ),
        ([("a", 32.0, None)], " (95 % interval −2.4 to 5.6 points, not tested)."),
        (
            [("a", 29.0, 0.6), ("b", 20.0, 1e-5)],
            "No gain: 29.0 % correct with the best of 2 variants, 1.4 points below the pretrained"
            " baseline (95 % interval −5.4 to 2.6 points, p = 0.6).",
        ),
        ([("a", 20.0, 0.01)], "Significant loss: 20.0 % correct with the only variant, 10.4 "),
        (
            [("a", 30.43, 1.0)],
            "No gain: 30.4 % correct with the only variant, exactly as many as with the pretrained"
            " baseline (95 % interval −4.0 to 4.0 points, p = 1).",
        ),
        ([("a", 30.47, 1.0)], "less than 0.1 points above the pretrained baseline"),
        ([("a", 34.44, 0.2)], " (95 % interval 0.0 to 8.0 points, p = 0.2)."),
        ([("a", 34.41, 0.2)], " (95 % interval 0.0 to 8.0 points, p = 0.2)."),  # and not -0.0
        ([], "Nothing was trained: the pretrained baseline counts 30.4 % of 506 images correctly."),
    ],
)
def test_the_sentence_is_right_whatever_the_numbers_are(rows, said) -> None:
    sentence = main_result.finding(table1([BASE, *rows, CONTROL]), "paper")
    assert said in sentence
    assert sentence.count(". ") == 0  # one sentence
    assert "99" not in sentence


@pytest.mark.parametrize("scale", pages.STAMPS)
def test_the_sentence_says_of_which_run_it_is(scale) -> None:
    begin = {"miniature": "In this miniature, ", "partial": "In this partial run, ", "paper": ""}
    for rows, text in (([("a", 45.0, 0.001)], "45.0 %"), ([("a", 31.0, 0.9)], "no significant")):
        said = main_result.finding(table1([BASE, *rows]), scale)
        assert said.lower().startswith(begin[scale].lower() + text)
        assert said[0] == said[0].upper()
    with pytest.raises(KeyError):
        main_result.finding(table1([BASE]), "unknown")


def test_means_over_seeds_say_so_and_their_last_digits_are_no_gain() -> None:
    table = table1([BASE, ("a", 30.43 + 1e-13, 0.01), ("b", 20.0, 0.6)], seeds="1 2 7")
    said = main_result.finding(table, "paper")
    assert said.startswith("No gain: 30.4 % correct with the best of 2 variants (mean of 3 seeds),")
    assert "exactly as many" in said


def test_the_remarks_warn_of_the_choice_among_variants() -> None:
    chosen = "It was chosen on these same images"
    several = main_result.remarks(table1([BASE, ("a", 40.0, 0.01), ("b", 50.0, 0.2)]))
    assert several[0] == "Best variant: “label of b”."
    assert several[1].startswith(chosen)
    assert "only p is corrected" in several[1]
    for rows in ([("a", 40.0, 0.01)], [("a", 20.0, 0.01), ("b", 10.0, 0.2)], []):
        assert chosen not in " ".join(main_result.remarks(table1([BASE, *rows])))


@pytest.mark.parametrize(
    ("accuracy", "at_chance", "warned"),
    [(11.0, True, False), (16.2, False, False), (16.3, False, True), (6.0, False, True)],
)
def test_a_control_that_is_not_at_chance_is_warned_of(accuracy, at_chance, warned) -> None:
    table = table1([BASE, ("a", 40.0, 0.01), ("control_shuffled", accuracy, None)])
    assert ("The controls are at chance." in main_result.remarks(table)) == at_chance
    assert main_result.warnings(table) == warned * [
        "“label of control_shuffled” is NOT at chance. The benchmark may give answers away."
    ]
    within = "within what unequal class sizes allow" in " ".join(main_result.remarks(table))
    assert within == (not at_chance and not warned)


def test_the_plot_has_every_model_at_its_place() -> None:
    rows = [BASE, ("a", 45.0, 0.001), ("b", 20.0, 0.01), ("c", 31.0, 0.9), ("d", 46.0, None)]
    plot = main_result.dot_plot(table1([*rows, CONTROL], {"a": "first"}))
    assert [(dot.label, dot.kind, dot.value, dot.range) for dot in plot.dots] == [
        ("label of d", "neither", "46.0", "[41.0, 51.0]"),
        ("first", "above", "45.0", "[40.0, 50.0]"),
        ("label of c", "neither", "31.0", "[26.0, 36.0]"),
        ("label of baseline", "baseline", "30.4", "[25.4, 35.4]"),
        ("label of b", "below", "20.0", "[15.0, 25.0]"),
    ]
    assert [(tick.label, tick.at) for tick in plot.ticks] == [
        (str(tick), pytest.approx(tick / 0.6)) for tick in (0, 10, 20, 30, 40, 50, 60)
    ]
    first = plot.dots[1]
    assert (first.at, first.low, first.high) == pytest.approx((75, 40 / 0.6, 50 / 0.6))
    assert {kind: line.label for kind, line in plot.lines.items()} == {
        "chance": "chance 11.1 %", "baseline": "pretrained baseline 30.4 %",
    }  # fmt: skip
    assert plot.lines["chance"].at == pytest.approx(100 / 9 / 0.6)
    assert plot.lines["baseline"].at == pytest.approx(30.43 / 0.6)
    assert plot.legend == {
        "above": "significantly above the baseline: 1",
        "below": "significantly below it: 1",
        "neither": "no significant difference: 2",
    }
    assert plot.title == "Accuracy at the end of training, % of 506 images"


@pytest.mark.parametrize(
    ("accuracy", "ticks"),
    [(3.0, "0 5 10 15"), (20.0, "0 5 10 15 20 25"), (55.0, "0 10 20 30 40 50 60"),
     (55.5, "0 20 40 60 80"), (100.0, "0 20 40 60 80 100")],
)  # fmt: skip
def test_the_axis_holds_every_interval_and_chance(accuracy, ticks) -> None:
    plot = main_result.dot_plot(table1([("baseline", accuracy, None)]))
    assert " ".join(tick.label for tick in plot.ticks) == ticks
    assert plot.ticks[-1].at == 100
    assert plot.lines["chance"].at <= 100
    assert plot.dots[0].high <= 100
    assert plot.legend == {}  # nothing was trained


def test_chance_is_one_in_nine() -> None:
    assert pytest.approx(11.1111, abs=1e-4) == scores.CHANCE
