"""What the rules of ordinal regression read from the config."""

import copy
import csv

import pytest
import yaml

from countclip.experiments.ordinal import presets, settings
from countclip.experiments.ordinal.methods import METHODS, UNTRAINED
from countclip.runtime.resources import HOME
from countclip.settings import config_files, gpus, paths, results
from countclip.settings.common import Config, ConfigError
from countclip.settings.config_docs import SCHEMA

DEFAULT = config_files.default()
DECADES = {
    "csv": "mine/decades.csv",
    "images": "mine/photographs",
    "folds": {"by": "published", "count": 10, "validation": 0.1, "seed": 0},
    "task": {
        "shows": "decades",
        "values": [0, 2],
        "bins": [{"word": f"19{3 + n}0s", "from": n, "to": n} for n in range(3)],
        "prompt": "a photo taken in the {word}.",
        "number_prompt": "decade {number}.",
    },
}


def changed(**ordinal) -> Config:
    """The default config with some entries of the sections of `ordinal` laid over it."""
    config = copy.deepcopy(DEFAULT)
    for section, entries in ordinal.items():
        config["ordinal"][section] |= entries
    return config


def test_the_default_has_every_method_in_its_order_and_fits_itself() -> None:
    settings.check(DEFAULT)
    assert list(settings.methods(DEFAULT).values()) == list(METHODS)


@pytest.mark.parametrize(
    ("section", "entries", "message"),
    [
        ("methods", {"mine": {}}, r"ordinal\.methods\.mine: there is no method 'mine'; .* emd$"),
        ("methods", {"mine": {"method": "ce"}}, r"methods\.mine: there is no method 'ce'"),
        ("methods", {"mine": {"method": "emd"}}, r"methods\.mine\.label: emd has 'EMD' too"),
        ("methods", {"emd": {"label": " "}}, r"ordinal\.methods\.emd\.label is empty"),
        (
            "sets",
            {"mine": DECADES | {"task": DECADES["task"] | {"values": [0, 3]}}},
            r"ordinal\.sets\.mine\.task: 3 bins end at 2: .* must end at 3",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_key(section, entries, message) -> None:
    with pytest.raises(ConfigError, match=message):
        settings.check(changed(**{section: entries}))


def test_a_variant_of_a_method_trains_with_what_differs_alone() -> None:
    mine = {"method": "numclip_exp", "label": "learnt", "words": "learnt", "head": "bounded"}
    config = changed(methods={"mine": mine, "sord": None})
    settings.check(config)
    assert "sord" not in settings.methods(config)
    method = settings.methods(config)["mine"]
    assert (method.name, method.label, method.words) == ("numclip_exp", "learnt", "learnt")
    found = settings.training_settings(config, "people", "mine")["ordinal"]
    assert (found["method"], found["options"]) == ("numclip_exp", {"words": "learnt"})
    for name in ("coarse_ce", "numclip_exp"):
        before = settings.training_settings(DEFAULT, "people", name)
        assert settings.training_settings(config, "people", name) == before


def test_a_training_follows_from_its_own_prompt_and_from_no_label() -> None:
    task = DEFAULT["ordinal"]["sets"]["people"]["task"]
    for key, follows in (("prompt", "coarse_ce"), ("number_prompt", "rank_prompts")):
        config = changed()
        config["ordinal"]["sets"]["people"]["task"] = task | {key: "another {word} {number}"}
        differ = {
            name
            for name in ("coarse_ce", "rank_prompts")
            for of in (settings.training_settings, settings.prediction_settings)
            if of(config, "people", name) != of(DEFAULT, "people", name)
        }
        assert differ == {follows}
    config = changed(methods={"emd": {"label": "another"}}, training={"loggers": ["tensorboard"]})
    for name in ("emd", "sord"):
        of = settings.training_settings
        assert of(config, "people", name) == of(DEFAULT, "people", name)


def test_a_method_that_is_not_trained_costs_no_training() -> None:
    config = changed(sets={"decades": DECADES})
    config["ordinal"]["seeds"] = [3, 4]
    lists = settings.predictions(config, "decades")
    assert len(lists) == len(UNTRAINED) + 2 * (len(METHODS) - len(UNTRAINED))
    for name in settings.methods(config):
        seeds = [path.split("/")[4] for path in lists if path.endswith(f"/{name}.json")]
        assert seeds == (["seed0"] if name in UNTRAINED else ["seed3", "seed4"])
        weights = settings.weights(config, "decades", name, "3")
        assert len(weights) == (0 if name in UNTRAINED else 2 * 10)
    assert weights[0] == "results/ordinal/decades/training/emd/seed3/fold1/selected.safetensors"


def test_results_follow_the_sets() -> None:
    both = results.targets(changed(sets={"decades": DECADES}))
    assert "results/ordinal/people/table.json" in both
    assert "results/figures/ordinal_errors_decades.svg" in both
    none = results.targets(changed(sets={"people": None}))
    assert not [file for file in none if "ordinal" in file]


def test_paths_of_a_set_are_checked_as_all_others_are(tmp_path) -> None:
    (tmp_path / "file").touch()
    for key, path in (("csv", str(tmp_path)), ("images", str(tmp_path / "file"))):
        config = changed(sets={"decades": DECADES | {key: path}})
        with pytest.raises(ConfigError, match=rf"ordinal\.sets\.decades\.{key}: .* is a f"):
            paths.refuse_folders(config)


def test_images_of_a_users_set_are_listed_and_those_of_a_rule_are_not(tmp_path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "mine.csv").write_text("path,label\na.png,1\nb.png,2\n")
    mine = DECADES | {"csv": str(tmp_path / "mine.csv"), "images": str(tmp_path)}
    config = changed(sets={"mine": mine})
    assert settings.listed_images(config, "mine") == [str(tmp_path / "a.png")]
    assert settings.listed_images(config, "people") == []


def test_trainings_hold_the_gpus_of_their_section() -> None:
    config = changed(training={"accelerator": "cuda", "devices": 2})
    assert gpus.of_rule(config, "train_ordinal") == 2
    assert gpus.of_rule(config, "train_variant") == 0
    assert gpus.by_job(config)["train_ordinal"] == 2


# ---- published sets ----

PRESET_OF = {
    "morph": "morph_c", "morph_persons": "morph_d", "historical": "hci", "aesthetics": "aesthetics",
    "adience": "adience", "utkface": "utkface", "clap2015": "clap2015",
}  # fmt: skip
"""The preset that writes the CSV of each set of config/ordinal_sets.yaml."""


@pytest.fixture(scope="module")
def published() -> Config:
    text = (HOME / "config/ordinal_sets.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["ordinal"]["sets"]


def test_every_published_set_is_a_config_that_can_be_meant(published) -> None:
    from jsonschema import Draft202012Validator

    config = changed(sets=published)
    Draft202012Validator(yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))).validate(config)
    settings.check(config)
    assert {*published} == {*PRESET_OF}


def test_the_range_of_a_published_set_holds_the_labels_of_its_preset(published) -> None:
    with open(HOME / "resources/ordinal_published.csv", encoding="utf-8", newline="") as file:
        tasks = {row["task"] for row in csv.DictReader(file)}
    for name, one in published.items():
        preset = presets.PRESETS[PRESET_OF[name]]
        low, high = one["task"]["values"]
        assert low <= preset.values[0] < preset.values[1] <= high, name
        assert one["published"] in {None, *tasks}, name
        assert "{word}" in one["task"]["prompt"], name
        assert "{number}" in one["task"]["number_prompt"], name


def test_every_preset_but_the_general_ones_has_a_set() -> None:
    without = {"folder", "fingers"}
    families = {name.split("_")[0] for name in presets.PRESETS if name not in without}
    assert families == {preset.split("_")[0] for preset in PRESET_OF.values()}


def test_the_papers_run_trains_a_set_as_released() -> None:
    text = (HOME / "config/paper.yaml").read_text(encoding="utf-8")
    laid = yaml.safe_load(text)["ordinal"]["training"]
    training = DEFAULT["ordinal"]["training"] | laid
    assert {*training} == {*DEFAULT["ordinal"]["training"]}
    assert (training["batch_size"], training["epochs"]) == (32, 100)
    assert (training["learning_rate"], training["head_rate"], training["word_rate"]) == (
        1e-5, None, None,
    )  # fmt: skip
    assert training["optimizer"] == "radam"
    assert training["betas"] == [0.9, 0.999]
    assert (training["epsilon"], training["weight_decay"]) == (1e-8, 0)
    assert training["decay_at"] == [60 / 100]
    assert (training["schedule"], training["decay_factor"]) == ("step", 0.1)
