"""The reading table: numbers that follow from small files of predictions, and what readers see."""

import json

import numpy as np
import pandas as pd
import pytest

from countclip.experiments.reading import controls, data, metric, predictions, scores, table
from countclip.experiments.reading.data import Question, Reading
from countclip.experiments.reading.pool import make_pool
from countclip.experiments.reading.predictions import of_places, write_predictions
from countclip.experiments.reading.variants import NAIVE, VARIANTS
from countclip.report import sheets

WORDS = ["stop", "exit", "taxi", "mint", "bus", "open"]
N = 48


def right_word(number):
    return WORDS[number % 6]


def write_split(folder, split, n, first):
    rows = [
        Question(
            "", first + number, f"{split}{number // 2}", f"what does sign {number % 4} say?",
            [right_word(number)] * 7 + [right_word(number + 1)] * 3,
            Reading([right_word(2 * (number // 2)).upper(), right_word(number | 1), "no"], None),
        )
        for number in range(n)
    ]  # fmt: skip
    paths = {name: str(folder / f"{split}_{name}") for name in ("questions", "images", "summary")}
    data.make_split(
        rows, [], split=split, counts=None, ocr=None, questions_parquet=paths["questions"],
        images_parquet=paths["images"], summary_json=paths["summary"],
    )  # fmt: skip
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Predictions of six rows: naive is right in three of four, hard on image says one answer."""
    folder = tmp_path_factory.mktemp("table")
    train, validation = write_split(folder, "train", 60, 0), write_split(folder, "val", N, 1000)
    pool = make_pool(
        data.read_questions(train["questions"]), 5,  # one of the six words is left out
        pool_csv=folder / "pool.csv", summary_json=folder / "pool.json",
    )  # fmt: skip
    place_of = {answer: place for place, answer in enumerate(pool["answer"])}
    targets = np.array([place_of.get(right_word(number), -1) for number in range(N)])
    ids = data.read_questions(validation["questions"])["question_id"].to_numpy()
    said = {
        ("zero_shot", 0): np.where(np.arange(N) % 8 == 0, targets, 0),
        (NAIVE, 0): np.where(np.arange(N) % 4, targets, 0),
        (NAIVE, 1): np.where(np.arange(N) % 4 != 1, targets, 0),
        ("hard_image", 0): np.zeros(N, int),
        ("hard_image_mixed", 0): np.where(np.arange(N) % 4, targets, 1),
        ("ocr", 0): np.where(targets >= 0, targets, -1),
    }
    hits = np.where(targets >= 0, 1.0, np.nan)
    paths = {}
    for (name, seed), places in said.items():
        path = folder / f"{name}_{seed}.parquet"
        write_predictions(path, ids, of_places(places, targets),
                          {"image": (hits, 2 * hits), "both": (0 * hits, 4 * hits)})  # fmt: skip
        paths.setdefault(name, {})[seed] = str(path)
    summary = folder / "clusters.json"
    summary.write_text(json.dumps({"false_negatives": {"0.0": 0.4, "0.5": 0.1, "1.0": 0.02}}))
    return {
        "train_questions": train["questions"],
        "validation_questions": validation["questions"],
        "validation_images": validation["images"],
        "pool_csv": str(folder / "pool.csv"),
        "predictions": paths,
        "clusters": dict.fromkeys(("image", "both"), str(summary)),
        "published_csv": "resources/reading_published.csv",
    }


@pytest.fixture(scope="module")
def inputs(files):
    return table.read_inputs(**files)


@pytest.fixture(scope="module")
def numbers(inputs):
    return scores.table(inputs, "miniature").set_index("row")


def by_hand(inputs, name, seed):
    """Soft accuracy and exact match in percent, question by question with the metric."""
    pool = list(inputs.pool["answer"])
    predicted = inputs.predictions[name][seed]["predicted"]
    answers = inputs.questions["answers"]
    said = [(pool[place] if place >= 0 else "(none)", ten)
            for place, ten in zip(predicted, answers, strict=True)]  # fmt: skip
    soft = np.mean([metric.soft_accuracy(*one) for one in said])
    return 100 * soft, 100 * np.mean([metric.exact_match(*one) for one in said])


def test_scores_are_the_metrics_mean_over_questions_and_seeds(inputs, numbers):
    for name, seeds in inputs.predictions.items():
        expected = np.mean([by_hand(inputs, name, seed) for seed in seeds], axis=0)
        assert numbers.loc[name, "soft"] == pytest.approx(expected[0]), name
        assert numbers.loc[name, "exact"] == pytest.approx(expected[1]), name
        assert numbers.loc[name, "exact_low"] <= numbers.loc[name, "exact"]
        assert numbers.loc[name, "exact"] <= numbers.loc[name, "exact_high"]
    ends = [by_hand(inputs, NAIVE, seed)[1] for seed in (0, 1)]
    assert numbers.loc[NAIVE, "exact_sd"] == pytest.approx(np.std(ends, ddof=1))
    assert np.isnan(numbers.loc["zero_shot", "exact_sd"])


def test_differences_are_paired_with_naive_training(numbers):
    for name in ("zero_shot", "hard_image", "hard_image_mixed", "ocr"):
        for measure in ("soft", "exact"):
            difference = numbers.loc[name, measure] - numbers.loc[NAIVE, measure]
            assert numbers.loc[name, f"difference_{measure}"] == pytest.approx(difference)
    assert np.isnan(numbers.loc[NAIVE, "difference_soft"])
    assert numbers.loc["uniform"].filter(like="difference").isna().all()
    assert numbers.loc["hard_image", "p_soft_holm"] < 0.01
    tested = numbers["p_soft"].dropna()
    assert len(tested) == 4
    assert (numbers["p_soft_holm"].dropna() >= tested).all()


def test_a_collapse_shows_in_what_a_row_says(numbers):
    row = numbers.loc["hard_image"]
    assert (row["distinct_answers"], row["commonest_share"]) == (1, 100)
    assert row["commonest_answer"] == "bus"  # five equally frequent answers, the first by text
    assert row["within_cluster"] == 100
    assert row["within_chance"] == 50
    assert row["soft"] == pytest.approx(row["shuffled_soft"])
    assert numbers.loc["hard_image_mixed", "distinct_answers"] == 5
    assert numbers.loc[NAIVE, "within_cluster"] == 0  # of clusters of both
    assert [numbers.loc[name, "false_negatives"] for name in
            (NAIVE, "hard_image", "hard_image_mixed")] == [2, 40, 10]  # fmt: skip
    assert np.isnan(numbers.loc["zero_shot", "false_negatives"])


def test_controls_and_ceilings_stand_around_the_readers(inputs, numbers):
    names = list(numbers.index)
    assert names[:6] == list(scores.CONTROLS)
    assert names[-4:] == list(scores.CEILINGS)
    share = np.mean([right_word(number) in set(inputs.pool["answer"]) for number in range(N)])
    assert numbers.loc["pool_ceiling", "exact"] == pytest.approx(100 * share)
    assert numbers.loc["ocr_ceiling", "exact"] == 100
    assert numbers.loc["uniform", "exact"] == pytest.approx(100 * share / 5)
    assert (numbers["chance_exact"].dropna() == numbers.loc["uniform", "exact"]).all()
    assert numbers.loc["annotators", "soft"] == pytest.approx(
        100 * controls.annotators(inputs.questions["answers"]).soft.mean()
    )
    assert numbers.loc["ocr", "share_of_ceiling_exact"] == pytest.approx(100)
    assert numbers.loc["ocr", "reads"] == "OCR"


def test_published_numbers_stand_beside_the_measure_they_are_of(numbers):
    assert numbers.loc[NAIVE, "published_exact"] == 3.395
    assert numbers.loc["hard_image", "published_exact"] == 0.221
    assert np.isnan(numbers.loc["hard_image_mixed", "published_exact"])
    assert numbers.loc["majority", "published_soft"] == 4.48
    assert numbers["published_soft"].notna().sum() == 6
    # Every published number stands beside some row.
    known = {one.published for one in VARIANTS.values()} | {*VARIANTS, *numbers.index}
    assert set(pd.read_csv("resources/reading_published.csv")["method"]) <= known


def test_the_table_is_published_with_its_notes(inputs, tmp_path):
    paths = {"csv_path": tmp_path / "table.csv", "json_path": str(tmp_path / "table.json"),
             "markdown_path": str(tmp_path / "table.md")}  # fmt: skip
    table.make_table(inputs, scale="miniature", title="Can CLIP read?", **paths)
    columns = list(sheets.read_csv(paths["csv_path"]).columns)
    assert columns == scores.COLUMNS
    text = (tmp_path / "table.md").read_text()
    assert "Miniature: not CLIP's numbers" in text
    assert "n = 48 questions on 24 images" in text
    main, collapse = sheets.read_sheets(paths["json_path"])
    (best,) = (row[0].text for row in main.rows if row[2].best)
    assert best == "OCR, then match"
    assert [row[0].text for row in collapse.rows] == [
        "hard on image", "hard on question", "hard on answer", "hard on image and question",
    ]  # fmt: skip
    assert collapse.rows[0][2].text == "100.0 (chance 50.0)"
    assert collapse.rows[0][-1].text == "40.0, 10.0"
    assert collapse.rows[1][1].text == "–"


def test_a_row_that_is_no_variant_is_an_error(files):
    with pytest.raises(ValueError, match="no row clever: register it in variants.py"):
        table.read_inputs(**files | {"predictions": {"clever": {}}})


def test_variants_cover_the_two_by_two_of_each_clustering():
    hard = [one for one in VARIANTS.values() if one.hard_on]
    assert {(one.hard_on, one.treatment, one.random_share) for one in hard} == {
        (hard_on, treatment, share)
        for hard_on in ("image", "question", "answer", "both")
        for treatment in ("negatives", "masked")
        for share in (0, 0.5)
    }
    assert len({one.label for one in VARIANTS.values()}) == len(VARIANTS)
    assert VARIANTS["hard_both_masked_mixed"].label == (
        "hard on image and question, masked, half at random"
    )


def test_the_inputs_without_ocr_have_no_words(files, tmp_path):
    images = pd.read_parquet(files["validation_images"]).assign(words=None)
    images.to_parquet(tmp_path / "images.parquet")
    found = table.read_inputs(**files | {"validation_images": str(tmp_path / "images.parquet")})
    assert found.words is None
    assert "ocr_ceiling" not in set(scores.table(found, "miniature")["row"])
    assert predictions.of_places([0], [0]).rank.tolist() == [1]
