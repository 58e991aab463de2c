"""Studies of ordinal regression: their draws, trainings, tables and figures; cost; embeddings."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import tiny_training
from countclip.experiments.ordinal import cost, settings, studies, study_table
from countclip.experiments.ordinal.embed import embed
from countclip.experiments.ordinal.embeddings import read_embeddings
from countclip.experiments.ordinal.evaluate import predict
from countclip.experiments.ordinal.levels import STUDIES
from countclip.experiments.ordinal.methods import method_of
from countclip.experiments.ordinal.model import make_model
from countclip.experiments.ordinal.task import bins_of_equal_width, check_bins
from countclip.model.clip import Clip
from countclip.model.embeddings import embed_images, embed_texts
from countclip.report import sheets
from countclip.runtime.files import sha256
from countclip.settings import config_files
from countclip.settings.common import ConfigError
from countclip.training import checkpoints
from miniature import people

TASK = {
    "shows": "ages",
    "values": [0, 11],
    "bins": [
        {"word": "dogs", "from": 0, "to": 4},
        {"word": "cats", "from": 5, "to": 6},
        {"word": "two dogs", "from": 7, "to": 11},
    ],
    "prompt": "the {word}.",
    "number_prompt": "age {number}.",
}
TRAINING = {name: value for name, value in tiny_training.SETTINGS.items() if name != "seed"} | {
    "batch_size": 8,
    "epochs": 2,
    "steps": 4,
    "logit_scale": None,
}
METHODS = {
    "constant": {"method": "constant", "options": {}},
    "coarse_ce": {"method": "coarse_ce", "options": {}},
    "mine": {"method": "numclip_margin", "options": {"margin": 0.2}},
}
LABELS = {"constant": "constant", "coarse_ce": "CE", "mine": "mine"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a model, two folds of 48 images, and the images: brighter is older."""
    folder = tmp_path_factory.mktemp("home")
    config = tiny_training.make_config(folder)
    checkpoints.save(tiny_training.make_clip(config).model, folder / "start.safetensors", {})
    rng = np.random.default_rng(7)
    labels = np.arange(48) % 12
    noise = rng.integers(0, 60, (48, 64, 64, 3))
    np.save(folder / "images.npy", (noise + 16 * labels[:, None, None, None]).astype(np.uint8))
    for fold in (1, 2):
        parts = np.array(["train"] * 24 + ["validation"] * 12 + ["test"] * 12)
        table = pd.DataFrame({"index": np.arange(48), "label": labels.astype(float)})
        table["part"] = np.roll(parts, 12 * fold)
        table["group"] = None
        table.to_parquet(folder / f"{fold}.parquet", index=False)
    return folder


def model_of(home: Path) -> dict[str, str]:
    start = str(home / "start.safetensors")
    return {"name": "tiny-test", "pretrained": start, "config": str(home / "tiny-test.json")}


def run(
    home: Path, path: Path, study: str, levels: list, methods=METHODS, draws=3, **more
) -> pd.DataFrame:
    studies.run(
        study,
        [str(home / f"{fold}.parquet") for fold in (1, 2)],
        str(home / "images.npy"),
        str(path),
        str(path.with_suffix(".state")),
        model=model_of(home),
        task=TASK,
        levels=levels,
        draws=draws,
        methods=methods,
        training=TRAINING,
        threads=1,
        **more,
    )
    return pd.read_parquet(path)


@pytest.fixture(scope="module")
def few_shot(home, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("few_shot") / "few_shot.parquet"
    run(home, path, "few_shot", [1, 2])
    return path


# ---- levels ----


def test_bins_of_equal_width_cover_the_range_and_are_named_by_their_numbers():
    task = {"values": [1, 10], "number_prompt": "a figure of {number}"}
    assert bins_of_equal_width(task, 3) == {
        "bins": [
            {"word": "1 to 3", "from": 1, "to": 3},
            {"word": "4 to 7", "from": 4, "to": 7},
            {"word": "8 to 10", "from": 8, "to": 10},
        ],
        "prompt": "a figure of {word}",
    }
    for count in range(2, 11):
        check_bins(task | bins_of_equal_width(task, count))
    all_numbers = bins_of_equal_width(task, 10)["bins"]
    assert [entry["word"] for entry in all_numbers] == list("123456789") + ["10"]
    for count in (1, 11):
        with pytest.raises(ValueError, match=f"{count} bins of 1 to 10: at least 2, and at most"):
            bins_of_equal_width(task, count)


@pytest.mark.parametrize(
    ("study", "setting", "text", "left"),
    [
        ("few_shot", 1, "1", 12),
        ("shift", {"labels": 3, "share": 0.5}, "3 labels, 50 % removed", 24 - 3),
        ("outside", [4, 9], "4 to 9", 12),
        ("growing", 4, "4", 24),
    ],
)
def test_a_level_takes_images_from_training_alone(home, study, setting, text, left):
    level = STUDIES[study].level(setting, TASK)
    fold = pd.read_parquet(home / "2.parquet")
    part = level.part(fold, 5)
    assert level.text == text
    assert (part["part"] == "train").sum() == left
    assert (part["part"] == "test").sum() == 12
    assert part.equals(level.part(fold, 5))
    assert level.seen == ((4, 9) if study == "outside" else None)
    assert len(level.task["bins"]) == (4 if study == "growing" else 3)


# ---- the config ----


def changed(**keys) -> dict:
    """The default config with all studies made, and `keys` of `ordinal.studies` changed."""
    config = config_files.default()
    made = [*STUDIES, "cost"]
    config["ordinal"]["studies"] |= {"made": made} | keys
    return config


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"set": "persons"}, r"ordinal.studies.set: there is no set 'persons'; name one of people"),
        ({"methods": ["l2"]}, r"ordinal.studies.methods: `ordinal.methods` has no l2"),
        ({"outside": [[1, 90]]}, r"ordinal.studies.outside: 1 to 90 must be a part of 1 to 80"),
        ({"outside": [[1, 80]]}, r"1 to 80 must be a part of 1 to 80, the set's values"),
        ({"outside": [[9, 2]]}, r"9 to 2 must be a part of 1 to 80"),
        (
            {"growing": [81]},
            r"ordinal.studies.growing: 81 bins of 1 to 80: at least 2, and at most",
        ),
    ],
)
def test_a_study_that_cannot_be_made_is_refused_before_anything_runs(keys, message):
    settings.check(changed())
    with pytest.raises(ConfigError, match=message):
        settings.check(changed(**keys))
    settings.check(changed(**keys, made=[]))  # nobody asks for it
    if (study := next(iter(keys))) in STUDIES:
        settings.check(changed(**keys, made=[name for name in STUDIES if name != study]))
        with pytest.raises(ConfigError, match=message):
            settings.check(changed(**keys, made=[study]))


def test_methods_without_texts_have_no_similarities_to_show():
    config = config_files.default()
    config["ordinal"]["embeddings"] = ["coarse_ce", "linear_probe"]
    with pytest.raises(ConfigError, match="linear_probe compares no texts; name another method"):
        settings.check(config)


def test_a_study_trains_as_the_table_does_but_for_its_steps():
    config = changed(steps=77)
    spec = settings.study_settings(config, "few_shot")
    training = config["ordinal"]["training"]
    assert spec["training"]["steps"] == 77
    assert spec["training"]["learning_rate"] == training["learning_rate"]
    assert "loggers" not in spec["training"]
    config["ordinal"]["methods"]["coarse_ce"] = None  # no row, so no row here
    left = [name for name, _ in settings.study_settings(config, "few_shot")["methods"]]
    assert left == ["constant", "linear_probe", "numclip_exp"]
    plain = settings.study_settings(changed(steps=None), "few_shot")
    assert plain["training"]["steps"] is None


def test_a_study_predicts_as_the_table_does():
    config = changed()
    config["evaluation"]["precision"] = "bf16-mixed"
    spec = settings.study_settings(config, "shift")["evaluation"]
    table = settings.prediction_settings(config, "people", "coarse_ce")["evaluation"]
    assert spec == {"precision": table["precision"]} == {"precision": "bf16-mixed"}


# ---- trainings ----


def test_a_study_has_each_method_on_the_same_draws(home, few_shot):
    found = pd.read_parquet(few_shot)
    assert len(found) == 2 * 3 * 3 * 12
    assert found.groupby("draw")["fold"].unique().map(list).to_dict() == {1: [1], 2: [2], 3: [1]}
    assert found.groupby("level")["n_train"].unique().map(list).to_dict() == {"1": [12], "2": [24]}
    for (_, draw), drawn in found.groupby(["level", "draw"]):
        seen = {tuple(rows["index"]) for _, rows in drawn.groupby("method")}
        fold = pd.read_parquet(home / f"{drawn['fold'].iloc[0]}.parquet")
        assert seen == {tuple(fold["index"][fold["part"] == "test"])}, draw
    constant = found[(found["method"] == "constant") & (found["level"] == "1")]
    assert set(constant["expectation"]) == {5.5}  # the median of one image of each of 0..11
    trained = found[found["method"] != "constant"]
    assert trained.groupby(["level", "draw", "method"])["expectation"].first().is_unique
    assert not few_shot.with_suffix(".state").exists()


def test_a_killed_study_goes_on_to_the_same_bytes(home, few_shot, tmp_path):
    path = tmp_path / "again.parquet"
    broken = METHODS | {"mine": METHODS["mine"] | {"method": "no_such"}}
    with pytest.raises(ValueError, match="unknown method 'no_such'"):
        run(home, path, "few_shot", [1, 2], broken)
    assert not path.exists()
    finished = sorted(path.with_suffix(".state").glob("*/predictions.parquet"))
    assert len(finished) == 2
    for file in finished:  # would be seen if it were trained again
        table = pd.read_parquet(file)
        table.assign(argmax=table["argmax"] + 100).to_parquet(file, index=False)
    found = run(home, path, "few_shot", [1, 2])
    expected = pd.read_parquet(few_shot)
    touched = found["argmax"] > 90
    assert touched.sum() == 2 * 12
    assert found.assign(argmax=found["argmax"] - 100 * touched).equals(expected)


def test_predictions_of_a_study_have_the_precision_and_batch_of_evaluation(home, tmp_path):
    methods = {"zero": {"method": "zero_shot_concepts", "options": {}}}
    fold, images = str(home / "1.parquet"), str(home / "images.npy")
    means = {}
    for precision in ("32-true", "bf16-mixed"):
        how = {"accelerator": "cpu", "precision": precision, "batch": 5}
        path = tmp_path / f"{precision}.parquet"
        found = run(home, path, "few_shot", [1], methods, draws=1, evaluation=how)
        alone = str(tmp_path / "alone.parquet")
        predict(fold, images, None, alone, model=model_of(home), task=TASK,
                method="zero_shot_concepts", threads=1, **how)  # fmt: skip
        assert found["expectation"].tolist() == pd.read_parquet(alone)["expectation"].tolist()
        means[precision] = found["expectation"].mean()
    assert means["32-true"] != means["bf16-mixed"]


def test_more_bins_have_more_probabilities(home, tmp_path):
    chosen = {name: METHODS[name] for name in ("constant", "coarse_ce")}
    found = run(home, tmp_path / "growing.parquet", "growing", [2, 12], chosen, draws=1)
    widths = found.groupby(["level", "method"])["probabilities"].apply(lambda p: len(p.iloc[0]))
    assert widths.to_dict() == {
        ("2", "constant"): 2,
        ("2", "coarse_ce"): 2,
        ("12", "constant"): 12,
        ("12", "coarse_ce"): 12,
    }
    finest = found[(found["method"] == "coarse_ce") & (found["level"] == "12")]
    assert set(finest["argmax"]) <= set(range(12))
    assert (finest["bin"] == finest["label"]).all()


# ---- tables and figures ----


def predictions_of(errors: dict[str, list[float]], level: str) -> pd.DataFrame:
    """Four test images a draw, of labels 1, 3, 8 and 10; a method's answers are off by as much."""
    labels = np.array([1.0, 3.0, 8.0, 10.0])
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "index": range(4), "label": labels, "group": None, "bin": [0, 0, 2, 2],
                    "predicted_bin": [0, 0, 2, 1], "argmax": labels - 2 * off,
                    "expectation": labels - off, "probabilities": None, "level": level,
                    "draw": draw, "fold": 1, "method": method, "n_train": 20 + draw,
                }
            )
            for method, of_draws in errors.items()
            for draw, off in enumerate(of_draws, 1)
        ],
        ignore_index=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    errors = {"coarse_ce": [1.0, 3.0], "mine": [0.5, 1.5]}
    of_levels = [predictions_of(errors, level) for level in ("0 to 5", "5 to 11")]
    pd.concat(of_levels).to_parquet(folder / "outside.parquet")
    study_table.make_study_table(
        str(folder / "outside.parquet"),
        "outside",
        levels=[[0, 5], [5, 11]],
        task=TASK,
        labels={name: LABELS[name] for name in errors},
        csv_path=str(folder / "outside.csv"),
        json_path=str(folder / "outside.json"),
        markdown_path=str(folder / "outside.md"),
        scale="miniature",
    )
    return folder


def test_the_table_has_means_and_intervals_over_the_draws(made):
    table = sheets.read_csv(made / "outside.csv")
    assert list(table.columns) == study_table.COLUMNS
    rows = table.set_index(["level", "labels", "method", "decoding"])
    assert len(rows) == 2 * 3 * 2 * 2
    row = rows.loc[("0 to 5", "all", "mine", "expectation")]
    assert row["mae"] == 1.0  # of 0.5 and 1.5
    half = 12.706204736 * np.std([0.5, 1.5], ddof=1) / np.sqrt(2)
    assert row["mae_high"] == pytest.approx(1 + half)
    assert row["mae_low"] == 0  # no error is below
    assert row["difference"] == -1.0  # -0.5 and -1.5
    assert row["difference_high"] == pytest.approx(-1 + half)
    assert row[["draws", "n_train", "n_test"]].tolist() == [2, 21.5, 4]
    assert rows.loc[("0 to 5", "all", "mine", "argmax"), "mae"] == 2.0
    assert rows.loc[("0 to 5", "all", "mine", "argmax"), "accuracy"] == 75.0
    assert np.isnan(rows.loc[("0 to 5", "all", "coarse_ce", "argmax"), "difference"])


def test_labels_that_were_seen_stand_beside_those_that_were_not(made):
    table = sheets.read_csv(made / "outside.csv")
    rows = table.set_index(["level", "labels", "method", "decoding"])
    argmax = rows.xs(("mine", "argmax"), level=("method", "decoding"))
    assert argmax["n_test"].to_dict() == {
        ("0 to 5", "all"): 4,
        ("0 to 5", "seen"): 2,
        ("0 to 5", "unseen"): 2,
        ("5 to 11", "all"): 4,
        ("5 to 11", "seen"): 2,
        ("5 to 11", "unseen"): 2,
    }
    assert argmax.loc[("0 to 5", "seen"), "accuracy"] == 100.0
    assert argmax.loc[("0 to 5", "unseen"), "accuracy"] == 50.0


def test_readers_see_the_table_and_a_figure(made, tmp_path):
    text = (made / "outside.md").read_text()
    assert "Labels outside the training range: ages, 2 draws" in text
    assert "| 0 to 5 | unseen | mine | expectation |" in text
    (sheet,) = sheets.read_sheets(made / "outside.json")
    assert [row[4].text for row in sheet.rows if row[5].best]
    paths = {kind: str(tmp_path / f"figure.{kind}") for kind in ("svg", "png")}
    study_table.plot_study(str(made / "outside.csv"), "outside", **paths, scale="miniature")
    assert all(Path(path).stat().st_size > 5000 for path in paths.values())


def test_a_study_of_real_trainings_becomes_a_table(few_shot, tmp_path):
    paths = {f"{kind}_path": str(tmp_path / f"few.{kind}") for kind in ("csv", "json", "markdown")}
    study_table.make_study_table(
        str(few_shot), "few_shot", levels=[1, 2], task=TASK, labels=LABELS, scale="paper", **paths
    )
    table = sheets.read_csv(tmp_path / "few.csv", level=str)
    assert table[["level", "method", "decoding"]].drop_duplicates().shape[0] == 2 * 3 * 2
    constant = table[(table["method"] == "constant") & (table["decoding"] == "expectation")]
    assert constant["mae"].tolist() == [3.0, 3.0]  # of 0..11 to 5.5


# ---- cost ----


def test_multiply_adds_are_those_of_the_layers(home):
    clip = Clip(**model_of(home))
    width, layers, patch, tokens, d = 64, 3, 8, 64, 64
    blocks = layers * (12 * tokens * width**2 + 2 * tokens**2 * width)
    with torch.no_grad():
        images = clip.normalise(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
        measured = cost.multiply_adds(lambda: clip.model.visual(images)) / 2
    classes = layers * (12 * width**2 + 2 * (2 * tokens + 1) * width)  # of a class token
    expected = blocks + tokens * width * 3 * patch**2 + width * d
    assert measured in (expected, expected + classes)


def test_cost_is_told_beside_plain_clip(home, tmp_path):
    names = ("linear_probe", "zero_shot_concepts", "numclip_margin", "numclip_released")
    fused = torch.backends.mha.get_fastpath_enabled()
    cost.measure(
        model=model_of(home),
        task=TASK,
        methods={name: {"method": name, "options": {}, "label": name} for name in names},
        threads=1,
        scale="miniature",
        **{f"{kind}_path": str(tmp_path / f"cost.{kind}") for kind in ("csv", "json", "markdown")},
    )
    assert "What inference costs" in (tmp_path / "cost.markdown").read_text()
    assert torch.backends.mha.get_fastpath_enabled() == fused
    rows = sheets.read_csv(tmp_path / "cost.csv").set_index("method")
    k, d = 3, 64
    similarities, head, adapter = k * d, 2 * 2 * k * k, 2 * d * d // 4
    assert rows["after"].to_dict() == {
        "linear_probe": d,
        "zero_shot_concepts": similarities,
        "numclip_margin": similarities + head,
        "numclip_released": similarities + head + adapter,
    }
    biases = 3 * k
    assert rows.loc["numclip_margin", "parameters"] == head + biases
    tower = rows.loc["zero_shot_concepts", "tower"]
    assert rows.loc["zero_shot_concepts", "percent_more"] == 0
    assert rows.loc["numclip_margin", "percent_more"] == pytest.approx(
        100 * head / (tower + similarities)
    )
    assert (rows["tower_ms"] > 0).all()
    assert np.isnan(rows.loc["linear_probe", "text"])
    assert (
        rows.loc["numclip_margin", "text"]
        == rows.loc["zero_shot_concepts", "text"]
        > 10 * tower / 100
    )


# ---- embeddings ----


def embedded(home: Path, path: Path, method: str, weights: str | None = None):
    embed(
        str(home / "1.parquet"),
        str(home / "images.npy"),
        weights,
        str(path),
        model=model_of(home),
        task=TASK,
        method=method,
        threads=1,
    )
    return read_embeddings(str(path))


def test_embeddings_before_a_training_are_clips(home, tmp_path):
    found = embedded(home, tmp_path / "before.npz", "zero_shot_concepts")
    clip, fold = Clip(**model_of(home)), pd.read_parquet(home / "1.parquet")
    test = fold[fold["part"] == "test"]
    images = np.load(home / "images.npy")[test["index"]]
    assert found.labels.tolist() == test["label"].tolist()
    assert found.images == pytest.approx(embed_images(clip, images).numpy(), abs=1e-6)
    texts = clip.tokenize(["the dogs.", "the cats.", "the two dogs."])
    assert found.texts == pytest.approx(embed_texts(clip, texts).numpy(), abs=1e-6)
    assert found.midpoints.tolist() == [2, 5.5, 9]


def test_embeddings_after_a_training_give_its_predictions(home, tmp_path):
    method, clip = method_of("numclip_released"), Clip(**model_of(home))
    torch.manual_seed(1)
    ordinal = make_model(clip, method, TASK)
    with torch.no_grad():
        for parameter in ordinal.trained().parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    ordinal.save(tmp_path / "weights.safetensors", {})
    weights = str(tmp_path / "weights.safetensors")
    found = embedded(home, tmp_path / "after.npz", "numclip_released", weights)
    fold = pd.read_parquet(home / "1.parquet")
    rows = fold["index"][fold["part"] == "test"].to_numpy()
    probabilities, _ = ordinal.predict(np.load(home / "images.npy"), rows)
    logits = ordinal.logit_scale * found.images @ found.texts.T
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert shares / shares.sum(axis=1, keepdims=True) == pytest.approx(probabilities, abs=1e-5)
    assert np.linalg.norm(found.images, axis=1) == pytest.approx(1, abs=1e-5)


# ---- development people ----


def test_development_people_are_others(tmp_path):
    for stream in ("people", "development_people"):
        people.make(tmp_path / f"{stream}.csv", tmp_path / stream, people=2, stream=stream)
    names = [file.name for file in sorted((tmp_path / "people").iterdir())]
    digests = {sha256(tmp_path / stream / name)
               for stream in ("people", "development_people") for name in names}  # fmt: skip
    assert len(digests) == 2 * len(names) == 16
    people.make(tmp_path / "again.csv", tmp_path / "again", people=2)
    assert (tmp_path / "again.csv").read_text() == (
        (tmp_path / "people.csv").read_text().replace("people/", "again/")
    )
    shutil.rmtree(tmp_path / "again")
