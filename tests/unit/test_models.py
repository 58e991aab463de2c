"""Several base models: which one a variant has, and what it is compared with."""

import copy

import numpy as np
import pandas as pd
import pytest

from countclip.data.number_words import NUMBERS
from countclip.report import main_result, retention, scores, table1
from countclip.settings import config_files, models, runs, variants, views, zero_shot
from countclip.settings.common import ConfigError

DEFAULT = config_files.default()
MODELS = {
    "small": dict(DEFAULT["model"]),
    "large": {"name": "ViT-L-14-quickgelu", "pretrained": "openai"},
}


@pytest.fixture
def config() -> dict:
    """Two models, the second with one variant."""
    config = copy.deepcopy(DEFAULT)
    config["models"] = copy.deepcopy(MODELS)
    config["variants"]["log_sched"]["model"] = "large"
    models.set_default(config)
    return config


def test_the_first_model_is_the_default_and_a_variant_names_another(config):
    assert config["model"] == DEFAULT["model"]
    assert models.model_of(config, "log_sched") == MODELS["large"] | {"config": None}
    assert models.model_of(config, "log_nosched") == DEFAULT["model"]
    assert models.baseline_of(config, "log_sched") == "baseline-large"
    assert models.baseline_of(config, "log_nosched") == "baseline"
    assert models.model_of(config, "baseline-large")["name"] == "ViT-L-14-quickgelu"
    assert models.baseline_ids(config) == ["baseline", "baseline-large"]
    files = runs.predictions(config)
    assert sum("/baseline-large/seed0/" in file for file in files) == 1
    assert "model" not in variants.training_settings(config, "log_sched")


def test_with_one_model_nothing_is_named_after_it():
    config = copy.deepcopy(DEFAULT)
    plain = runs.predictions(config), views.variant_rows(config)
    for listed in ({}, {"only": copy.deepcopy(DEFAULT["model"])}, {"only": None}):
        config = copy.deepcopy(DEFAULT) | {"models": listed}
        models.set_default(config)
        assert (runs.predictions(config), views.variant_rows(config)) == plain
        assert models.with_baselines(config) == {}
        assert views.ablation_settings(config) == views.ablation_settings(DEFAULT)


def test_images_are_packed_for_each_model_and_the_first_keeps_its_place(config):
    path = "results/training/images/main.npy"
    assert models.packed_for(config, path, "log_nosched") == path
    packed = models.packed_for(config, path, "log_sched")
    assert packed == "results/training/images/main/large.npy"
    spec = models.packing(MODELS["small"])
    assert spec == {"preprocessing": {"size": 64}}
    renamed = MODELS["small"] | {"name": "another", "pretrained": "elsewhere.safetensors"}
    assert models.packing(renamed) == spec
    assert models.packing(config["models"]["large"])["model"]["pretrained"] == "openai"


def test_a_model_that_is_not_there_is_refused_by_key(config):
    config["variants"]["modal_sched"]["model"] = "huge"
    with pytest.raises(ConfigError, match="variants.modal_sched.model: there is no 'huge'"):
        models.set_default(config)
    config["models"] = {}
    with pytest.raises(ConfigError, match="models has none: name it there"):
        models.model_of(config, "modal_sched")


def test_what_compares_with_one_baseline_lists_variants_of_that_model_alone(config):
    assert "log_sched" not in views.of_first_model(config, "retrieval")
    config["relevancy"]["variants"] = []
    found = [row["id"] for row in views.variant_rows(config, by="relevancy.variants")]
    assert found == [name for name in variants.trained(config) if name != "log_sched"]
    config["retrieval"]["variants"] = ["log_sched"]
    with pytest.raises(ConfigError, match="retrieval.variants: log_sched: trained from another"):
        runs.final_weights(config, "retrieval")


def test_one_at_a_time_waits_for_the_answers_of_the_model_before(config):
    config |= {"network": "internet"}
    config["zero_shot"] = {
        "keep_weights": False,
        "endpoint": "x",
        "models": {
            "a": {"name": "A", "pretrained": "t"},
            "file": {"name": "B", "pretrained": "b.safetensors"},
            "c": {"name": "C", "pretrained": "t"},
        },
    }
    assert zero_shot.weights(config, "file") == []
    assert zero_shot.answers_before(config, "a") == []
    before = zero_shot.answers_before(config, "c")
    assert "results/zero_shot/countbench/a.parquet" in before
    assert len(before) == len(zero_shot.benchmark_ids(config))
    config["zero_shot"]["keep_weights"] = True
    assert zero_shot.answers_before(config, "c") == []
    config["network"] = "miniature"
    with pytest.raises(ConfigError, match="zero_shot.models.c: its weights are on the internet"):
        zero_shot.weights(config, "c")


# ---- tables ----

VARIANTS = [
    {"id": "one", "label": "One", "schedule": "none", "lambda_scheme": "norm", "loss": "count",
     "baseline": "baseline"},
    {"id": "two", "label": "Two", "schedule": "none", "lambda_scheme": "norm", "loss": "count",
     "baseline": "baseline-large"},
]  # fmt: skip
BASELINES = [
    {"id": "baseline", "label": "baseline small, not fine-tuned"},
    {"id": "baseline-large", "label": "baseline large, not fine-tuned"},
]
RIGHT = {"baseline": 9, "baseline-large": 27, "one": 18, "two": 36}
"""Of 45 images, how many each model has right: the first ones."""


def predictions() -> pd.DataFrame:
    index = np.arange(45)
    number = np.array(NUMBERS)[index % 9]
    other = np.array(NUMBERS)[(index + 1) % 9]
    frames = []
    for variant, right in RIGHT.items():
        pretrained = variant.startswith("baseline")
        for checkpoint in ("end",) if pretrained else tuple(scores.CHECKPOINTS):
            predicted = np.where(index < right, number, other)
            frame = pd.DataFrame({"index": index, "number": number, "prediction": predicted})
            frames.append(frame.assign(
                variant=variant, seed=0 if pretrained else 1, checkpoint=checkpoint, tie=False,
                text_only=other, right=predicted == number,
            ))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_each_variant_is_tested_against_its_own_model_before_training():
    paper = pd.DataFrame(columns=["variant", "end", "best"])
    table = scores.table1(predictions(), VARIANTS, paper, "own", "partial", "one", BASELINES)
    rows = table.set_index("variant")
    assert list(rows.index)[:4] == ["baseline", "baseline-large", "one", "two"]
    assert rows["difference_baseline"][["one", "two"]].tolist() == pytest.approx([20, 20])
    assert rows["difference_reference"]["two"] == pytest.approx(40)
    # Nine images more and none less, of 45: the exact McNemar test gives 2 / 2^9.
    assert rows["p_end_vs_baseline"][["one", "two"]].tolist() == pytest.approx([2 / 512] * 2)
    assert rows["baseline"][["one", "two"]].tolist() == ["baseline", "baseline-large"]
    baseline, variants = main_result.models(table)
    assert baseline["variant"] == "baseline"
    assert list(variants["variant"]) == ["one", "two"]
    kinds = [dot.kind for dot in main_result.dot_plot(table).dots]
    assert kinds.count("baseline") == 2
    notes = " ".join(table1.sheet(table).notes)
    assert "“baseline large, not fine-tuned” of Two" in notes
    assert scores.baseline_of(table, "two") == "baseline-large"


def test_one_model_has_the_columns_that_it_always_had():
    rows = [variant | {"baseline": "baseline"} for variant in VARIANTS[:1]]
    plain = [{k: v for k, v in row.items() if k != "baseline"} for row in rows]
    paper = pd.DataFrame(columns=["variant", "end", "best"])
    table = scores.table1(predictions(), plain, paper, "own", "partial")
    assert list(table.columns) == scores.COLUMNS
    assert "baseline-large" not in set(table["variant"])


def test_retention_is_what_is_left_of_the_own_model():
    frames = []
    for variant, hits in RIGHT.items():
        for checkpoint in ("end",) if variant.startswith("baseline") else ("end", "selected"):
            frames.append(pd.DataFrame({
                "task": "t", "variant": variant, "seed": 1, "checkpoint": checkpoint,
                "direction": "label", "index": range(45), "picture": range(45), "right": 1,
                "among": 3, "rank": [0 if i < hits else 2 for i in range(45)],
            }))  # fmt: skip
    table = retention.retention(pd.concat(frames), VARIANTS, "partial")
    top = table[(table["measure"] == "top-1") & (table["checkpoint"] == "end")]
    assert top["before"].tolist() == pytest.approx([20, 60])
    assert top["difference"].tolist() == pytest.approx([20, 20])
    [sheet] = retention.retention_sheets(table, BASELINES)
    assert [row[0].text for row in sheet.rows[:2]] == [row["label"] for row in BASELINES]
    assert [row[1].text for row in sheet.rows[:2]] == ["20.00", "60.00"]
