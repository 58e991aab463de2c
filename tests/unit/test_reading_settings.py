"""What the rules of reading read from the config."""

import copy

import pytest
import yaml

from countclip.experiments.reading import settings
from countclip.experiments.reading.variants import VARIANTS
from countclip.runtime.resources import HOME
from countclip.settings import config_files, gpus, paths, results
from countclip.settings.common import Config, ConfigError

DEFAULT = config_files.default()


def changed(**reading) -> Config:
    """The default config with some keys of `reading` laid over it, sections key by key."""
    config = copy.deepcopy(DEFAULT)
    for key, value in reading.items():
        old = config["reading"][key]
        config["reading"][key] = old | value if isinstance(value, dict) else value
    return config


def test_the_default_has_every_row_and_fits_itself():
    settings.check(DEFAULT)
    assert DEFAULT["reading"]["variants"] == list(VARIANTS)
    trained = [name for name, one in VARIANTS.items() if one.trained]
    assert len(settings.reader_predictions(DEFAULT)) == 3 * len(trained) + 3
    assert len(settings.table_predictions(DEFAULT)) == 3 * len(trained) + 3 + 2
    assert settings.clusterings(DEFAULT) == ["image", "question", "answer", "both"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"variants": ["naive", "hard"]}, r"reading\.variants: there is no hard; name some of ze"),
        ({"variants": []}, r"reading\.variants: is empty; .* reading\.source to none"),
        ({"source": "hub"}, r"reading\.source: the hub is on the internet, and network is min"),
        ({"images": None}, r"reading\.images: source json needs the folder"),
        (
            {"splits": {"validation": {"questions": None, "ocr": None}}},
            r"reading\.splits\.validation\.questions: source json needs a path",
        ),
        ({"crops": {"reader": "statements"}}, r"reading\.crops\.reader: there is no reader stat"),
        ({"crops": {"reader": "question_alone"}}, r"crops\.reader: question_alone looks at no im"),
        ({"words": {"images": None}}, r"reading\.words\.images: must be the folder"),
        ({"words": {"readers": ["nobody"]}}, r"reading\.words\.readers: there is no reader nobody"),
        ({"panels": {"readers": ["ocr"]}}, r"reading\.panels\.readers: there is no reader ocr"),
        ({"question_template": "what?"}, r"reading\.question_template: 'what\?' has no \{question"),
        ({"answer_template": "{answer} {x}"}, r"reading\.answer_template: .* has a field that"),
        ({"answer_template": "{answer} {"}, r"reading\.answer_template: .* has a field that"),
        ({"answer_template": "{answer.x}"}, r"reading\.answer_template: .* has a field that"),
        (
            {"statements": {"template": "{question}"}},
            r"reading\.statements\.template: .* has no \{answer\}",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_key(wrong, message):
    with pytest.raises(ConfigError, match=message):
        settings.check(changed(**wrong))
    settings.check(changed(**wrong | {"source": "none"}))


def test_a_row_that_is_left_out_is_left_out_wherever_it_is_named():
    config = changed(variants=["question_alone", "statements", "hard_image"])
    settings.check(config)
    assert list(settings.variants(config)) == ["statements", "question_alone", "hard_image"]
    assert settings.readers(config, "words") == ["question_alone"]
    assert settings.readers(config, "crops") == ["question_alone"]
    assert settings.clusterings(config) == ["image", "both"]
    with pytest.raises(
        ConfigError, match="there is no 'naive' that is trained; there are question"
    ):
        settings.training_settings(config, "naive")
    with pytest.raises(ConfigError, match="there is no 'statements' that is trained"):
        settings.training_settings(config, "statements")


def test_a_training_follows_from_its_row_and_from_no_other():
    found = settings.training_settings(DEFAULT, "hard_answer_masked_mixed")
    assert (found["treatment"], found["random_share"]) == ("masked", 0.5)
    assert settings.training_clusters("hard_answer_masked_mixed") == [
        "results/reading/clusters/answer.parquet"
    ]
    assert settings.training_clusters("naive") == []
    fewer = changed(variants=["naive"], training={"checkpoint_minutes": 99})
    naive = settings.training_settings(DEFAULT, "naive")
    assert settings.training_settings(fewer, "naive") == naive
    weight = changed(reader={"image_weight": 0.9})
    of = settings.training_settings
    assert of(weight, "image_alone") == of(DEFAULT, "image_alone")
    assert of(weight, "naive") != naive
    wide = changed(reader={"hidden": 8})
    assert settings.statement_settings(wide) == settings.statement_settings(DEFAULT)


def test_results_follow_the_source():
    def made(config):
        return {file for file in results.targets(config) if "reading" in file}

    everything = made(DEFAULT)
    assert "results/reading/table.md" in everything
    published = {f"results/reading/published.{kind}" for kind in ("csv", "json", "md")}
    assert made(changed(source="none")) == published
    assert everything - made(changed(words={"csv": None})) == {
        *(f"results/reading/words.{kind}" for kind in ("csv", "json", "md")),
        *(f"results/figures/reading_words.{kind}" for kind in ("svg", "png")),
    }
    assert everything - made(changed(crops={"views": []})) == {
        f"results/reading/crops.{kind}" for kind in ("csv", "json", "md")
    }
    without_ocr = settings.table_predictions(changed(ocr_longest_side=None))
    assert not [file for file in without_ocr if "ocr" in file]


def test_files_follow_the_source():
    assert settings.files(DEFAULT, "train") == ["results/miniature/reading/train.json"]
    folder = "results/miniature/reading/images"
    assert settings.image_sources(DEFAULT, "train") == [*settings.files(DEFAULT, "train"), folder]
    hub = changed(source="hub")
    assert settings.files(hub, "train") == ["results/reading/parquet/train.json"]
    assert settings.image_sources(hub, "train") == settings.files(hub, "train")


def test_paths_are_checked_as_all_others_are(tmp_path):
    (tmp_path / "file").touch()
    split = {"questions": str(tmp_path), "ocr": None}
    for wrong in (
        {"splits": {"train": split}},
        {"source": "parquet", "splits": {"train": split | {"questions": str(tmp_path / "file")}}},
        {"images": str(tmp_path / "file")},
        {"words": {"csv": str(tmp_path)}},
        {"model": {"pretrained": str(tmp_path / "none/x.safetensors"), "config": str(tmp_path)}},
    ):
        with pytest.raises(ConfigError, match=r"reading\.\w+.*: .* is a f"):
            paths.refuse_folders(changed(**wrong))


def test_trainings_hold_a_gpu_where_one_is_wanted():
    config = changed(training={"accelerator": "cuda"})
    assert gpus.of_rule(config, "train_reading") == gpus.by_job(config)["train_reading"] == 1
    assert gpus.of_rule(config, "embed_reading") == 0


def test_the_overlay_for_textvqa_fits_the_papers_config():
    config = copy.deepcopy(DEFAULT)
    for name in ("paper", "textvqa"):
        overlay = yaml.safe_load((HOME / f"config/{name}.yaml").read_text(encoding="utf-8"))
        config["network"] = overlay.get("network", config["network"])
        for key, value in overlay["reading"].items():
            old = config["reading"][key]
            config["reading"][key] = old | value if isinstance(old, dict) else value
        settings.check(config)
    assert config["reading"]["complete"] is True
    assert settings.files(config, "validation") == ["results/reading/parquet/validation.json"]
