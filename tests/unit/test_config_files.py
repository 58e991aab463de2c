"""Config files as people write them: repeated keys, several files, texts, folders for files."""

import copy
import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from countclip.runtime import provenance
from countclip.runtime.resources import HOME
from countclip.settings import config_files, paths
from countclip.settings.common import ConfigError, value_at

DEFAULT = config_files.default()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [1]\nscale: paper\nseeds: [2]\n", "seeds stands in lines 1 and 3"),
        ("fetch:\n  images:\n    timeout: 1\n    timeout: 2\n", "fetch.images.timeout stands in"),
        ("a: {b: 1, c: 2, b: 3}\n", "a.b stands in lines 1 and 1"),
        ('"a": 1\n\n\na: 2\na: 3\n', "a stands in lines 1 and 4 and 5"),
        ("a:\n- {b: 1}\n- b: 1\n  b: 2\n", "a.b stands in lines 3 and 4"),
        ('{"a": 1,\n "b": {"c": 1,\n "c": 2}}', "b.c stands in lines 2 and 3"),
        ("\ufeffa: 1\na: 2\n", "a stands in lines 1 and 2"),
    ],
)
def test_a_repeated_key_is_refused_with_its_lines(tmp_path, text, said):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        config_files.refuse_repeated_keys(file)
    assert f"{file}: {said}" in str(error.value)


def test_a_repeated_key_of_json_with_tabs_is_refused(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{\n\t"fetch": {"connections": 4},\n\t"seeds": [1],\n\t"fetch": {}\n}\n')
    with pytest.raises(ConfigError, match="mine.json: fetch stands 2 times in one section"):
        config_files.refuse_repeated_keys(file)
    file.write_text('{\n\t"a": {"x": 1},\n\t"b": {"x": 1}\n}\n')
    config_files.refuse_repeated_keys(file)


def test_equal_keys_of_different_sections_and_anchors_are_no_repetition(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, x: 2}\nd:\n- {x: 1}\n- {x: 1}\n")
    config_files.refuse_repeated_keys(file)
    for file in (HOME / "config").glob("*.yaml"):
        config_files.refuse_repeated_keys(file)


def test_the_start_says_which_files_lay_how_much_over_the_default():
    defaults = (
        "Config: config/config.yaml, config/ordinal.yaml, config/soft_labels.yaml and"
        " config/reading.yaml"
    )
    assert config_files.summary([]) == f"{defaults} alone"
    overlays = [
        ("a.yaml", {"x": {"y": 1, "z": [1, 2]}, "w": None}),
        ("b.yaml", {}),
        ("c", {"x": 1}),
    ]
    said = config_files.summary(overlays)
    assert said.startswith(f"{defaults}; laid over them, ")
    assert said.endswith("in this order: a.yaml (3 keys), b.yaml (0 keys), c (1 key)")


@pytest.mark.parametrize(
    ("arguments", "dropped"),
    [
        ("all --configfile a b -n", ""),
        ("all --configfile a b --configfile c", "a b"),
        ("--configfile=a all --configfiles b -n --configfile c", "a b"),
        ("-n --configfile a --cores 2 all", ""),
    ],
)
def test_files_of_an_earlier_configfile_are_dropped(arguments, dropped):
    assert config_files.dropped_files(arguments.split()) == dropped.split()


@pytest.mark.parametrize(
    ("path", "text", "written"),
    [
        (["training", "epochs"], "2", "training: {epochs: 2}"),
        (["training", "learning_rate"], "3e-6", "training: {learning_rate: 3.0e-06}"),
        (["training", "train_logit_scale"], "true", "training: {train_logit_scale: true}"),
        (["seeds", 1], "7", "seeds: [7]"),
    ],
)
def test_a_number_that_came_as_a_text_is_shown_as_to_be_written(path, text, written):
    in_file = config_files.advice(path, text, {})
    assert "--config" not in in_file
    inside_config = config_files.advice(path, text, {path[0]: {}})
    assert "--configfile that.yaml" in inside_config
    for advice in (in_file, inside_config):
        assert f"\n    {written}" in advice
        yaml.safe_load(written)


def test_of_a_list_inside_config_the_advice_has_all_items():
    arguments = {"wise_ft": {"alphas": ["0.5", "1", 0]}}
    advice = config_files.advice(["wise_ft", "alphas", 1], "1", arguments)
    assert "\n    wise_ft: {alphas: [0.5, 1, 0]}\n" in advice


def test_a_real_text_or_number_has_no_advice():
    for value in ("many", "", 2, [1], None):
        assert config_files.advice(["a"], value, {"a": 1}) == ""


def test_a_null_inside_config_is_refused():
    with pytest.raises(ConfigError, match="laion.manifest: 'null' came as a text"):
        config_files.refuse_text_nulls({"laion": {"manifest": "null"}})
    config_files.refuse_text_nulls({"laion": {"manifest": None, "folder": "nullable"}})


FILES = [
    "laion.manifest", "detector.weights", "counting_set.nouns", "counting_sets.main.nouns",
    "countbench.list", "countbench.intersection", "countbench.lock", "countbench.repairs",
    "countbench.copy", "benchmarks.own.path", "model.pretrained", "model.config",
    "retention.tasks.pairs.annotations", "retention.tasks.things.templates",
]  # fmt: skip
FOLDERS = ["laion.folder", "benchmarks.own.images", "retention.tasks.pairs.folder"]


def changed(key: str, value: str) -> dict:
    config = copy.deepcopy(DEFAULT)
    *sections, last = key.split(".")
    value_at(config, ".".join(sections))[last] = value
    return config


@pytest.mark.parametrize("key", FILES)
def test_a_folder_for_a_file_is_refused_by_its_key(tmp_path, key):
    for name in ("part-0.parquet", "part-1.parquet", ".hidden"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError) as error:
        paths.refuse_folders(changed(key, str(tmp_path)))
    assert str(error.value).startswith(f"{key}: {tmp_path} is a folder")
    assert "(part-0.parquet, part-1.parquet)" in str(error.value)
    paths.refuse_folders(changed(key, str(tmp_path / "part-0.parquet")))
    paths.refuse_folders(changed(key, str(tmp_path / "to be made")))


@pytest.mark.parametrize("key", FOLDERS)
def test_a_file_for_a_folder_is_refused_by_its_key(tmp_path, key):
    (tmp_path / "images.tar").touch()
    with pytest.raises(ConfigError, match=f"{key}: .* is a file, and a folder is meant"):
        paths.refuse_folders(changed(key, str(tmp_path / "images.tar")))
    paths.refuse_folders(changed(key, str(tmp_path)))


@pytest.mark.parametrize("key", FILES + FOLDERS)
@pytest.mark.parametrize("path", ["a/" + "x" * 300, "a/" + "é" * 128, "a/\0", "ab/" * 1500])
def test_a_text_that_is_no_path_is_refused_by_its_key(key, path):
    with pytest.raises(ConfigError, match=rf"^{key}: .{{1,60}} names no file \(.*\): write a"):
        paths.refuse_folders(changed(key, path))


@pytest.mark.parametrize("key", ["benchmarks.own.path", "countbench.lock", "laion.folder"])
def test_a_pipe_or_an_empty_text_for_a_path_is_refused_by_its_key(tmp_path, key):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=f"{key} is an empty text: write a path"):
        paths.refuse_folders(changed(key, " "))
    if key not in FOLDERS:
        with pytest.raises(ConfigError, match=f"{key}: .*/pipe is no regular file: copy"):
            paths.refuse_folders(changed(key, str(tmp_path / "pipe")))


def test_openvino_weights_are_a_folder(tmp_path):
    (tmp_path / "yolov8n.xml").touch()
    paths.refuse_folders(changed("detector.weights", str(tmp_path)))


# ---- digests of a user's files ----


def test_a_digest_follows_content_and_not_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "data {1}.csv"
    seen = set()
    for text in ("one", "two", "two "):
        file.write_text(text)
        for time in (1e9, 2e9):
            os.utime(file, (time, time))
            provenance._digest_of_users.cache_clear()
            seen.add(provenance.digests(str(file)))
    assert len(seen) == 3
    assert not any("{" in fact for facts in seen for fact in facts)
    assert provenance.digests("results/x.csv", "not/there.csv") == ()


def test_a_large_file_is_sampled_from_its_first_byte_to_its_last(tmp_path):
    file = tmp_path / "weights.bin"
    content = bytearray(os.urandom(1 << 20))
    digests = set()
    for place in (None, 0, len(content) // 2 + 20_000, len(content) - 1):
        if place is not None:
            block = slice(place, place + 1) if place in (0, len(content) - 1) else slice(None)
            content[block] = bytes(255 - byte for byte in content[block])
        file.write_bytes(content)
        digests.add(provenance.sampled_digest(file, whole=64 << 10))
    assert len(digests) == 4
    small = provenance.sampled_digest(file, whole=len(content))
    content[300_001] ^= 1
    file.write_bytes(content)
    assert provenance.sampled_digest(file, whole=len(content)) != small


def test_a_folders_digest_follows_each_file_however_deep(tmp_path):
    def digest() -> tuple[str, ...]:
        provenance._digest_of_users.cache_clear()
        return provenance.digests(str(tmp_path))

    deep = tmp_path / "a/b/c.png"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"1")
    first = digest()
    deep.write_bytes(b"2")
    second = digest()
    deep.rename(deep.with_name("d.png"))
    third = digest()
    assert len({first, second, third}) == 3
    (tmp_path / ".DS_Store").touch()  # which no reader of the folder sees
    assert digest() == third
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-linked")
    elsewhere.mkdir()
    (elsewhere / "e.png").write_bytes(b"5")
    (tmp_path / "linked").symlink_to(elsewhere)
    fourth = digest()
    (elsewhere / "e.png").write_bytes(b"6")
    assert len({third, fourth, digest()}) == 3
    listed = [str(Path(deep.with_name("d.png")))]
    (fact,) = provenance.digest_of_all("images", listed)
    assert fact.startswith("images ")
    assert provenance.digest_of_all("images", []) == ()


def test_the_complaint_about_an_unquoted_word_says_how_to_quote_it():
    schema = config_files.load(HOME / "workflow/schemas/config.schema.yaml")
    overlays = {
        "counting_sets: {7: {}}": 'quote it, "7"',
        "figures: {confusion: {2024-05-01: null}}": 'takes 2024-05-01 for a date.*"2024_05_01"',
        "retention: {tasks: {on: null}}": 'takes yes, on or no, off for True.* quote it, as "no"',
        "benchmarks: {1.5: null}": 'takes 1.5 for a number.* quote it, "1_5"',
        "reference: 12": 'quote it, "12"',
        "laion: {parts: [0]}": 'quote it, "0"',
        "laion: {parts: [00042]}": "or as it stands there",
        "fetch: {images: {resize_mode: no}}": "quote it",
        "detector: {sha256: 12345678}": 'quote it, "12345678"',
        "laion: {repository: 2001-01-01}": 'quote it, "2001-01-01"',
        "benchmarks: {a-b: null}": "'a-b' does not match .*; an id has letters, digits and _",
        "training: {epochs: many}": "'many' is not of type 'integer'$",
        "training: {epochs: [1]}": "is not of type 'integer'$",
        "wise_ft: {variants: {a: b}}": "is not of type 'array'$",
        "model: {name: }": "takes nothing, ~ and null for no value.* in quotes",
        "benchmarks: {~: {}}": 'takes null, ~ and nothing.* an id is meant: quote it, "null"',
        "laion: {parts: [0017]}": 'quote it, "15", or as it stands there$',
        "countbench: {list_sha256: 0x1f}": 'quote it, "31", or as it stands there$',
        f"laion: {{parts: [{'ab' * 120}]}}": r"^'(ab){20}'... has 240 .* at most 200",
    }
    for text, message in overlays.items():
        overlay = copy.deepcopy(DEFAULT)
        for section, values in yaml.safe_load(text).items():
            overlay[section] = overlay[section] | values if isinstance(values, dict) else values
        errors = jsonschema.Draft202012Validator(schema).iter_errors(overlay)
        wrong = next(error for error in errors if error.validator != "required")
        assert re.search(message, config_files.complaint(wrong)), text
