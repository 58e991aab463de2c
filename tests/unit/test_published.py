"""Our statistics on the confusion matrices of the paper's figures give the paper's Table 1."""

import json

import numpy as np
import pandas as pd
import pytest

from countclip.report import paper as report_paper
from countclip.report import sheets, statistics
from countclip.report.paper import CHECKPOINTS, OTHERS, make_paper
from countclip.runtime.resources import resource

MATRICES = resource("resources/paper_confusion_matrices.json")


@pytest.fixture(scope="module")
def matrices() -> dict[str, dict]:
    with open(MATRICES, encoding="utf-8") as file:
        variants = json.load(file)["variants"]
    return {
        name: {key: np.array(own[key]) for key in CHECKPOINTS if key in own}
        for name, own in variants.items()
    }


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return report_paper.table(MATRICES).set_index(["variant", "checkpoint"])


def test_table1_to_the_last_digit(table) -> None:
    paper = pd.read_csv(resource("resources/paper_table1.csv"), dtype=str).set_index("variant")
    assert set(table.index.get_level_values("variant")) == set(paper.index)
    assert len(table) == 23
    for (variant, checkpoint), row in table.iterrows():
        assert f"{row['accuracy']:.2f}" == paper[checkpoint][variant], (variant, checkpoint)


def test_the_paper_measured_509_images(matrices) -> None:
    supports = [56, 57, 57, 49, 58, 58, 57, 60, 57]
    for figures in matrices.values():
        for counts in figures.values():
            assert counts.sum(axis=1).tolist() == supports


def test_the_papers_gain_is_seven_images_and_carries_no_weight(table, matrices) -> None:
    best = table.loc[("modal_sched_plus", "best")]
    assert best["images_baseline"] == 7
    assert best["weight_baseline"] == "no"
    before = table.loc[("baseline", "best")]
    assert before["accuracy_low"] < best["accuracy"] < before["accuracy_high"]
    # Even if all that the baseline had right were right still, in every class:
    least, most = statistics.mcnemar_bounds(
        matrices["modal_sched_plus"]["best"], matrices["baseline"]["best"]
    )
    assert best["p_mcnemar_min_baseline"] == least
    assert best["p_mcnemar_max_baseline"] == most > 0.6


def test_no_difference_of_the_paper_is_certain(table) -> None:
    told = table[["weight_baseline", "weight_base"]].to_numpy().ravel()
    assert {weight: int((told == weight).sum()) for weight in ("yes", "open", "no")} == {
        "yes": 0, "open": 5, "no": 37,
    }  # fmt: skip
    losses = table[table["weight_baseline"] == "open"]
    assert len(losses) == 4
    assert (losses["images_baseline"] <= -30).all()
    assert (losses.index.get_level_values("checkpoint") == "end").all()
    assert table["images_baseline"].max() == 7


def test_every_comparison_has_its_tests_and_bounds_stay_in_order_when_corrected(table) -> None:
    for other in OTHERS:
        least, most = (table[f"p_mcnemar_{bound}_{other}"] for bound in ("min", "max"))
        assert (least.dropna() <= most.dropna()).all()
        corrected = table[[f"p_mcnemar_{bound}_{other}_holm" for bound in ("min", "max")]].dropna()
        assert (corrected.iloc[:, 0] <= corrected.iloc[:, 1]).all()
    assert table["p_unpaired_baseline"].count() == 22
    assert table["p_unpaired_base"].count() == 20


def test_a_difference_that_any_pairing_shows_carries_weight(tmp_path) -> None:
    """One model has everything right, the other nothing: no pairing makes that chance."""
    right, wrong = (10 * np.eye(9, dtype=int)).tolist(), np.roll(10 * np.eye(9, dtype=int), 1, 1)
    variants = {
        "baseline": {"label": "b", "best": wrong.tolist()},
        "lambda1_sched": {"label": "l", "best": right, "end": wrong.tolist()},
        "other": {"label": "o", "best": right, "end": right},
    }
    path = tmp_path / "matrices.json"
    path.write_text(json.dumps({"variants": variants}))
    table = report_paper.table(str(path)).set_index(["variant", "checkpoint"])
    assert table.loc[("lambda1_sched", "best"), "weight_baseline"] == "yes"
    assert table.loc[("lambda1_sched", "end"), "weight_baseline"] == "no"
    assert table.loc[("baseline", "best"), "weight_baseline"] == ""
    assert table.loc[("other", "best"), "weight_base"] == "no"
    assert table.loc[("other", "end"), "weight_base"] == "yes"


def test_the_files_say_what_the_table_says(tmp_path) -> None:
    paths = {"csv_path": "paper.csv", "json_path": "paper.json", "markdown_path": "paper.md"}
    make_paper(MATRICES, **{name: str(tmp_path / path) for name, path in paths.items()})
    csv = sheets.read_csv(tmp_path / "paper.csv", images_baseline="Int64", images_base="Int64")
    source = report_paper.table(MATRICES)
    pd.testing.assert_frame_equal(csv.fillna({"weight_baseline": "", "weight_base": ""}), source,
                                  check_exact=True)  # fmt: skip
    assert csv["accuracy"][0] == 100 * 140 / 509
    text = (tmp_path / "paper.md").read_text(encoding="utf-8")
    (sheet,) = sheets.read_sheets(str(tmp_path / "paper.json"))
    assert sheets.markdown(sheet) == text
    assert "| 28.88 [25.11, 32.96] |" in text
    assert "+7 |" in text
