"""Soft targets on counting: the variants of one key, and the differences to hard targets."""

import copy

import numpy as np
import pandas as pd
import pytest

from countclip.data.number_words import NUMBERS
from countclip.evaluation import counting
from countclip.report import ablations, scores, sheets, soft_counting, statistics
from countclip.runtime.resources import HOME
from countclip.settings import added_variants, config_files, soft_targets, variants, views

DEFAULT = config_files.load(HOME / "config/config.yaml")
PAPER = config_files.load(HOME / "config/paper.yaml")

# ---- the key ----


def test_one_key_adds_sixteen_and_they_are_off_by_default():
    off, on = copy.deepcopy(DEFAULT), copy.deepcopy(DEFAULT) | {"soft_variants": True}
    for each in (off, on):
        added_variants.add_soft(each)
    assert variants.trained(off) == list(DEFAULT["variants"])
    added = [name for name in variants.trained(on) if name not in DEFAULT["variants"]]
    assert added == [
        f"{target}_{batch}{loss}"
        for batch in ("5", "64")
        for loss in ("", "_plus")
        for target in ("hard", "objects", "masked", "shuffled")
    ]
    of_training = views.ablation_settings(on)["settings"]
    for name in added:
        target, batch, *plus = name.split("_")
        row = of_training[name]
        assert (row["batch_size"], row["loss"]) == (
            int(batch), "count_plus" if plus else "none"
        )  # fmt: skip
        assert row["learning_rate"] == {"5": 1.68e-4, "64": 6e-4}[batch]  # 3e-4 for 16
        hard = "_".join(["hard", batch, *plus])
        assert soft_counting.hard_of(name, of_training) == hard
        assert (name in soft_targets.soft_variants(on)) == (target != "hard")
    # in the paper's batch there is one counting pair, so that no two captions name two numbers
    assert of_training["masked_5"]["counting_per_batch"] == 1
    variants.refuse_labels(on)


def test_a_training_that_the_config_has_already_is_not_added():
    config = copy.deepcopy(DEFAULT) | {"soft_variants": True}
    config["training"] = config["training"] | PAPER["training"]
    config["variants"] |= {"masked_64": None, "objects_5": {"label": "mine"}}
    added_variants.add_soft(config)
    assert "hard_5_plus" not in config["variants"]  # the paper's modal_sched_plus
    assert "masked_64" not in variants.trained(config)
    assert config["variants"]["objects_5"] == {"label": "mine"}
    of_training = views.ablation_settings(config)["settings"]
    assert soft_counting.hard_of("objects_5_plus", of_training) == "modal_sched_plus"


# ---- the table ----

N = 54
TRUTH = np.array([2 + i % 9 for i in range(N)])
BASE = {"loss": "count_plus", "batch_size": 12, "soft_alpha": 0.5, "soft_mask": "none"}
SETTINGS = {
    "sharp": BASE | {"clip_target": "hard"},
    "even": BASE | {"clip_target": "smooth", "soft_alpha": 0.2},
    "shared": BASE | {"clip_target": "objects", "soft_mask": "numbers"},
    "alone": BASE | {"clip_target": "objects", "batch_size": 99},
}
PARTNERS = {"even": (11, 11), "shared": (2, 5), "alone": (40, 42)}
"""Of the first 30 steps and of the next 10."""


def told(name: str, seed: int) -> np.ndarray:
    return np.random.default_rng([len(name), ord(name[0]), seed]).choice([*NUMBERS], N)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The ablations of SETTINGS, with two seeds each: the CSV and the JSON."""
    folder = tmp_path_factory.mktemp("soft")
    paths, histories = [], []
    for name, seed in [("baseline", 0), *((name, seed) for name in SETTINGS for seed in (4, 9))]:
        cosines = 0.1 * np.eye(9)[told(name, seed) - 2]
        frame = counting.predictions(cosines, np.arange(N), TRUTH, TRUTH)
        paths.append(str(folder / f"{name}{seed}.parquet"))
        states = dict.fromkeys(scores.CHECKPOINTS, frame)
        counting.write_predictions(states, name, seed, paths[-1])
        if name in PARTNERS:
            of_seed = np.array([np.nan, *PARTNERS[name]]) + (seed == 9)
            history = folder / name / f"seed{seed}" / "history.csv"
            history.parent.mkdir(parents=True)
            columns = {"target_partners": of_seed, "target_diagonal": [None, 0.5, 0.9]}
            pd.DataFrame({"step": [0, 30, 40]} | columns).to_csv(history, index=False)
            histories.append(str(history))
    rows = dict(enumerate(TRUTH))
    variants = [{"id": name, "label": f"label of {name}"} for name in SETTINGS]
    no_paper = pd.DataFrame(columns=["variant", "end", "best"])
    loaded = scores.load_predictions(paths, rows)
    table1 = scores.table1(loaded, variants, no_paper, "repaired", "miniature", "sharp")
    sheets.write_csv(table1, str(folder / "table1.csv"))
    files = {f"{kind}_path": str(folder / f"made.{kind}") for kind in ("csv", "json", "markdown")}
    ablations.make_ablations(
        str(folder / "table1.csv"), paths, settings=SETTINGS, reference="sharp", rows=rows,
        histories=histories, **files,
    )  # fmt: skip
    return sheets.read_csv(files["csv_path"]).set_index("variant"), files["json_path"]


def test_softness_is_the_mean_over_steps_and_seeds(made):
    table, _ = made
    expected = {name: (30 * a + 10 * b) / 40 + 0.5 for name, (a, b) in PARTNERS.items()}
    assert table["target_partners"].dropna().to_dict() == pytest.approx(expected)
    assert table["target_diagonal"].dropna().tolist() == pytest.approx([0.6] * 3)


def test_differences_to_the_hard_variant_by_hand(made):
    table, _ = made
    assert table["hard"].to_dict() == pytest.approx(
        {"sharp": np.nan, "even": "sharp", "shared": "sharp", "alone": np.nan}, nan_ok=True
    )
    for name in ("even", "shared"):
        row, seeds = table.loc[name], [(told(name, seed), told("sharp", seed)) for seed in (4, 9)]
        errors = [np.abs(ours - TRUTH) - np.abs(theirs - TRUTH) for ours, theirs in seeds]
        assert row["mae_minus_hard"] == pytest.approx(np.mean(errors))
        assert row["mae_minus_hard_low"] < np.mean(errors) < row["mae_minus_hard_high"]
        p = [statistics.mcnemar(ours == TRUTH, theirs == TRUTH) for ours, theirs in seeds]
        assert row["p_accuracy_vs_hard"] == pytest.approx(min(1, 2 * np.median(p)))
    for measure in ("accuracy", "mae", "off_by_one", "spearman"):
        p = table[f"p_{measure}_vs_hard"]
        assert p.notna().tolist() == [False, True, True, False]
        assert table[f"p_{measure}_vs_hard_holm"][["even", "shared"]].tolist() == pytest.approx(
            list(statistics.holm(p[["even", "shared"]].to_numpy()))
        )


def test_the_sheet_has_each_soft_variant_below_its_hard_one(made):
    sheet = sheets.read_sheets(made[1])[-1]
    assert sheet.title == "Soft targets on counting. n = 54 (repaired)"
    assert [row[0].text for row in sheet.rows] == [
        f"label of {name}" for name in ("sharp", "even", "shared", "alone")
    ]
    assert [row[1].text for row in sheet.rows] == ["0.00", "11.50", "3.25", "41.00"]
    assert [row[2].text for row in sheet.rows] == ["1.00", "0.60", "0.60", "0.60"]
    shown = ["], p " in row[5].range for row in sheet.rows]
    assert shown == [False, True, True, False]
    assert sheet.stamp


def test_without_soft_targets_there_is_no_sheet(made):
    table, _ = made
    hard = {"sharp": SETTINGS["sharp"]}
    assert soft_counting.sheets_of(table.loc[["sharp"]].reset_index(), hard) == []
