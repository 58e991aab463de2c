"""The metric of TextVQA, the pool of answers, the controls and the published accuracies."""

import itertools
import json
import random

import numpy as np
import pandas as pd
import pytest

from countclip.experiments.reading import controls, metric, pool, published
from countclip.experiments.reading.pool import AnswerKey
from countclip.runtime.files import sha256

# ---- normalised answers, as M4C's evaluator has them ----

NORMALISED = {
    "The Beatles": "beatles", "a": "", "none": "0", "one two": "1 2", "twenty": "twenty",
    "Dont walk": "don't walk", "coca-cola": "coca cola", "Coca - Cola": "coca cola",
    "cocacola": "cocacola", "8:45 p.m.": "8:45 pm", "8:45 P.M": "8:45 pm", "10.5": "10.5",
    "10.5 km/h": "10.5 km h", "1,000": "1000", "1, 000": "1 000", "3.": "3",
    "www.visitlondon.com": "wwwvisitlondoncom", "U.S.A.": "usa", "what's": "what 's",
    "st. mary's": "st mary 's", "5 - 3": "5 3", "-5": "5", "50 / 60": "50 60", "x_y": "x y",
    "hwk-743": "hwk 743", '"you too"': "you too", "...": "", "the the": "", "a b c": "b c",
    "oclock": "o'clock", "Im": "im", "two": "2", "a building": "building",
    "snow, mountain": "snow mountain", "isnt": "isn't",
    "the two mountain's \t \n   ": "2 mountain 's",
    "$20": "$20", "50%": "50%", "r&b #1": "r&b #1", "couldnt've": "couldn't've",
    "couldn'tve": "couldn't've", "'ows'at": "'ow's'at", "somebody'd": "somebodyd",
    "y'alld've": "y'all'd've", "shed": "shed", "TEN": "10", "An  Apple": "apple", "": "",
    "a/b /c": "ab c",
}  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), NORMALISED.items())
def test_an_answer_is_normalised_as_the_evaluator_does(answer, expected):
    assert metric.normalise(answer) == expected


def test_of_forty_full_stops_the_first_32_are_deleted():
    assert metric.normalise("a. " * 40) == " ".join(["a."] * 8)


def test_all_contractions_of_the_evaluator_are_known():
    # It lists 120, of which four have a capital and never fire, and two stand for themselves.
    assert len(metric._CONTRACTIONS) == 120 - 4 - 2


# ---- scores ----

TIMES = ["545", *["8:45 pm"] * 4, "8:45 p.m.", "8:45 pm", "ihpone", "1:45", "8:45"]


@pytest.mark.parametrize(
    ("predicted", "answers", "expected"),
    [
        ("coca cola", ["coca-cola"] * 5 + ["coca cola"] * 2 + ["cocacola"] * 3, 1),
        ("cocacola", ["coca-cola"] * 5 + ["coca cola"] * 2 + ["cocacola"] * 3, 0.9),
        ("none", ["0"] * 4 + ["none"] * 3 + ["zero"] * 3, 1),
        ("the", ["a"] * 6 + ["b"] * 4, 1),
        ("8:45 p.m.", TIMES, 1),
        ("8:45", TIMES, 0.3),
        ("x", ["y"] * 10, 0),
    ],
)  # fmt: skip
def test_soft_accuracy_is_the_evaluators(predicted, answers, expected):
    assert metric.soft_accuracy(predicted, answers) == pytest.approx(expected)


@pytest.mark.parametrize("k", range(11))
def test_a_score_is_the_mean_over_annotators_of_the_matches_among_the_others(k):
    answers = ["yes"] * k + [f"other {n}" for n in range(10 - k)]
    by_definition = np.mean(
        [
            min(1, sum(answers[j] == "yes" for j in range(10) if j != i) / 3) for i in range(10)
        ]
    )  # fmt: skip
    assert metric.soft_accuracy("Yes", answers) == pytest.approx(by_definition)
    if k != 3:
        assert metric.soft_accuracy("Yes", answers) == pytest.approx(
            {0: 0, 1: 0.3, 2: 0.6}.get(k, 1)
        )


def test_the_majority_answer_is_the_first_by_text_of_several():
    assert metric.majority(["b", "A.", "c", "B", "a"]) == ""  # of an article nothing is left
    assert metric.majority(["zwei", "Eins", "eins", "zwei"]) == "eins"
    assert metric.exact_match("EINS!", ["zwei", "Eins", "eins", "zwei"])
    assert not metric.exact_match("zwei", ["zwei", "Eins", "eins", "zwei"])


def test_nine_answers_are_an_error():
    with pytest.raises(ValueError, match="9 answers; a question must have 10"):
        metric.scores(["x"] * 9)


def test_annotators_are_scored_by_the_nine_others():
    assert metric.agreement(["x"] * 10) == (1, 1)
    assert metric.agreement([*"bcdefghijk"]) == (0, 0)
    # 7 of 10 agree: 7 score 1, and 3 have two matches. Each of the 7 matches the majority.
    soft, exact = metric.agreement(["x"] * 7 + ["y"] * 3)
    assert (soft, exact) == (pytest.approx((7 + 3 * 2 / 3) / 10), pytest.approx(0.7))


# ---- pool ----


def questions(*tens, image_ids=None):
    return pd.DataFrame(
        {
            "question": [f"question {n}" for n in range(len(tens))],
            "answers": [list(ten) for ten in tens],
        }
    )


def one(answer, spelling=None):
    """Ten answers of which the majority is `answer`, mostly written as `spelling`."""
    return [answer] * 2 + [spelling or answer] * 4 + ["noise"] * 4


def made_pool(folder, table, size, **options):
    paths = {"pool_csv": folder / "pool.csv", "summary_json": folder / "pool.json"}
    made = pool.make_pool(table, size, **options, **paths)
    pd.testing.assert_frame_equal(pool.read_pool(paths["pool_csv"]), made, check_dtype=False)
    return made, json.loads(paths["summary_json"].read_text())


def test_a_pool_is_ordered_by_count_then_text(tmp_path):
    table = questions(
        one("zebra"), one("coca cola", "Coca-Cola"), one("NULL"), one("zebra", "The Zebra"),
        one("coca cola", "Coca-Cola"), one("bus"), one("the"), one("unanswerable"),
    )  # fmt: skip
    made, summary = made_pool(tmp_path, table, 4)
    assert made["answer"].tolist() == ["coca cola", "zebra", "bus", "null"]
    assert made["spelling"].tolist() == ["Coca-Cola", "The Zebra", "bus", "NULL"]
    assert made["count"].tolist() == [2, 2, 1, 1]
    assert summary["questions_left_out"] == {"empty": 1, "meta_answer": 0}
    assert summary["distinct_majority_answers"] == 5
    assert (summary["of_them_once"], summary["in_the_pool_once"]) == (3, 2)
    assert summary["questions_covered"] == 6
    assert summary["sha256"] == sha256(tmp_path / "pool.csv")


def test_the_order_of_the_questions_does_not_matter(tmp_path):
    tens = [one(word, spelling) for word, spelling in
            [("b", "B"), ("c", "C"), ("b", "b."), ("d", None), ("noisy", None)] * 2]  # fmt: skip
    made_pool(tmp_path / "one", questions(*tens), 3)
    random.Random(0).shuffle(tens)
    made_pool(tmp_path / "other", questions(*tens), 3)
    first, second = (tmp_path / name / "pool.csv" for name in ("one", "other"))
    assert first.read_bytes() == second.read_bytes()


def test_meta_answers_can_be_left_out(tmp_path, caplog):
    table = questions(one("not a question"), one("stop"), one("No text in image"))
    made, summary = made_pool(tmp_path, table, 10, meta_answers=False)
    assert made["answer"].tolist() == ["stop"]
    assert summary["questions_left_out"]["meta_answer"] == 2
    assert "1 answers, and not 10" in caplog.text


def test_an_empty_pool_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"pool of answers is empty: of 2 .* 1 have .* 1 a"):
        made_pool(tmp_path, questions(one("the"), one("unanswerable")), 5, meta_answers=False)


# ---- controls, each against the metric itself ----

POOL = ["stop", "coca cola", "yes", "4", "taxi"]
COUNTS = [6, 3, 2, 2, 1]
TENS = [
    ["stop"] * 10,
    ["Coca-Cola"] * 5 + ["coke"] * 3 + ["stop", "yes"],
    ["four"] * 2 + ["for"] * 8,
    [*"bcdefghijk"],
]
KEY = AnswerKey(TENS, POOL)


def scored(place):
    """Soft and exact scores of one candidate, by the metric."""
    return (
        np.array([metric.soft_accuracy(POOL[place], ten) for ten in TENS]),
        np.array([metric.exact_match(POOL[place], ten) for ten in TENS], float),
    )


@pytest.mark.parametrize("place", range(len(POOL)))
def test_a_key_scores_as_the_metric_does(place):
    for got, expected in zip(KEY.of(np.full(len(TENS), place)), scored(place), strict=True):
        np.testing.assert_allclose(got, expected)


def test_no_answer_scores_nothing_even_where_the_target_is_outside_the_pool():
    soft, exact = KEY.of(np.full(len(TENS), -1))
    assert not soft.any()
    assert not exact.any()


def test_blind_controls_are_means_over_all_candidates():
    every = np.array([scored(place) for place in range(len(POOL))])  # (N, 2, Q)
    shares = np.array(COUNTS) / sum(COUNTS)
    expected = {
        "uniform": every.mean(axis=0),
        "weighted": np.einsum("n,nkq->kq", shares, every),
        "majority": every[0],
        "random_100": every.mean(axis=0),  # all five are among the 100
    }
    blind = controls.blind(KEY, COUNTS)
    for name, values in expected.items():
        np.testing.assert_allclose(np.array(blind[name]), values, err_msg=name)


def test_random_100_takes_the_first_hundred_of_a_larger_pool():
    words = [f"word {n}" for n in range(250)]
    key = AnswerKey([["word 99"] * 10, ["word 100"] * 10], words)
    soft, exact = controls.blind(key, range(250, 0, -1))["random_100"]
    assert soft == pytest.approx([0.01, 0])
    assert exact == pytest.approx([0.01, 0])
    assert controls.blind(key, range(250, 0, -1))["weighted_100"].soft[0] == pytest.approx(
        151 / sum(range(151, 251))
    )


def test_shuffled_answers_score_as_all_permutations_do_on_average():
    predicted = np.array([0, 1, 0, 4])
    by_permutation = np.mean(
        [np.array(KEY.of(np.array(dealt))) for dealt in itertools.permutations(predicted)], axis=0
    )
    np.testing.assert_allclose(np.array(controls.shuffled(KEY, predicted)), by_permutation)


def test_the_question_alone_gives_the_commonest_answer_of_the_longest_common_start():
    train = pd.DataFrame(
        {"question": ["What brand is it?", "what brand is this", "What brand is this?",
                      "Is it a taxi?", "what brand is this car", "What colour?"]}
    )  # fmt: skip
    told = ["coca cola", "yes", "yes", "4", "not in the pool", "stop"]
    asked = ["what brand is it", "What brand is this bus?", "Is it red?", "Who is that?", ""]
    places = controls.from_question(train, told, asked, POOL)
    assert [POOL[place] for place in places] == ["coca cola", "yes", "4", "yes", "yes"]
    with pytest.raises(ValueError, match="no training question has an answer of the pool"):
        controls.from_question(train, ["none of them"] * 6, asked, POOL)


def test_ceilings_take_the_best_candidate():
    words = [["STOP"], ["drink", "a", "coke"], ["Bus", "-", "for", "all"], ["four", "b"]]
    found = controls.ceilings(TENS, POOL, words)
    np.testing.assert_allclose(found["pool_ceiling"].soft, [1, 1, 0.6, 0])
    np.testing.assert_allclose(found["pool_ceiling"].exact, [1, 1, 0, 0])
    np.testing.assert_allclose(found["ocr_ceiling"].soft, [1, 0.9, 1, 0.3])
    np.testing.assert_allclose(found["ocr_ceiling"].exact, [1, 0, 1, 1])  # "b" is first by text
    np.testing.assert_allclose(found["pool_or_ocr_ceiling"].soft, [1, 1, 1, 0.3])
    assert set(controls.ceilings(TENS, POOL, None)) == {"pool_ceiling"}


def test_runs_are_up_to_four_words_in_a_row():
    assert controls.runs(["Now", "open", "the", "new", "bar"]) == [
        "now", "now open", "now open new", "open", "open new", "open new bar", "new", "new bar",
        "bar",
    ]  # fmt: skip


def test_a_collapse_is_told_by_what_a_model_says():
    assert pool.said(np.array([3, 3, 3, 1]), 5) == {
        "distinct_answers": 2, "commonest": 3, "commonest_share": 0.75
    }  # fmt: skip


def test_equal_candidates_are_an_error():
    with pytest.raises(ValueError, match="1 candidates are there twice"):
        AnswerKey(TENS, ["stop", "yes", "stop"])


# ---- published ----


def test_published_accuracies_are_counts_of_4978_questions(tmp_path):
    table = published.table("resources/reading_published.csv")
    assert dict(zip(table["method"], table["correct"], strict=True)) == {
        "zero_shot": 151, "naive": 169, "hard_image": 11, "hard_text": 16, "hard_both": 11,
    }  # fmt: skip
    assert set(table["n"]) == {4978}
    printed = list(table["printed"])
    assert published.numbers_of_questions(printed, range(100, 6_001)) == [4978]
    rows = table.set_index("method")
    assert rows.loc["naive", "p_zero_shot"] == pytest.approx(0.33, abs=0.005)
    assert rows.loc["hard_text", "p_hard_image"] == pytest.approx(0.44, abs=0.005)
    assert rows.loc["hard_image", "p_zero_shot"] < 1e-31
    assert rows.loc["zero_shot", "accuracy_low"] == pytest.approx(2.59, abs=0.005)
    assert rows.loc["zero_shot", "accuracy_high"] == pytest.approx(3.55, abs=0.005)


def test_a_pair_is_one_test_whichever_row_shows_it():
    rows = published.table("resources/reading_published.csv").set_index("method")
    for end in ("", "_holm"):
        for one_row, other in itertools.permutations(published.OTHERS, 2):
            assert rows.loc[one_row, f"p_{other}{end}"] == rows.loc[other, f"p_{one_row}{end}"]
    # Nine pairs, of which naive training against 11 right answers is the clearest.
    smallest = rows.loc["hard_image", "p_naive"]
    assert smallest == rows.filter(regex="^p_(?!.*holm)").min(axis=None)
    assert rows.loc["hard_image", "p_naive_holm"] == pytest.approx(9 * smallest)


def test_accuracies_that_fit_no_number_are_an_error(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text(
        "method,label,measure,accuracy,source\nnaive,N,exact,3.3337,x\nb,B,exact,1.0001,x\n"
    )
    with pytest.raises(ValueError, match="none fit all exact matches"):
        published.table(path)


def test_the_published_sheet_says_what_is_inferred(tmp_path):
    paths = {f"{kind}_path": str(tmp_path / f"published.{end}") for kind, end in
             (("csv", "csv"), ("json", "json"), ("markdown", "md"))}  # fmt: skip
    published.make_published("resources/reading_published.csv", **paths)
    text = (tmp_path / "published.md").read_text()
    assert "Inferred" in text
    assert "3.39 [2.93, 3.94]" in text
