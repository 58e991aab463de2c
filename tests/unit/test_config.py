"""What the rules read from the config, without Snakemake."""

import copy

import pytest

from countclip.settings import (
    added_variants,
    benchmarks,
    config_files,
    counting_sets,
    detector,
    gpus,
    laion,
    models,
    retention,
    runs,
    variants,
    views,
)
from countclip.settings.common import ConfigError

DEFAULT = config_files.default()


@pytest.fixture
def config() -> dict:
    return copy.deepcopy(DEFAULT)


def test_a_variant_set_to_null_is_left_out_wherever_it_is_listed(config):
    name = config["wise_ft"]["variants"][0]
    config["variants"][name] = None
    assert name not in variants.trained(config)
    assert name not in variants.chosen(config, "wise_ft.variants")
    assert name not in [row["id"] for row in views.variant_rows(config)]
    config["reference"] = name
    assert variants.reference(config) is None


def test_a_variant_lays_its_keys_over_training(config):
    config["variants"] = {"mine": {"label": "Mine", "epochs": 99, "loggers": []}}
    found = variants.training_settings(config, "mine")
    assert found["epochs"] == 99
    assert found["batch_size"] == config["training"]["batch_size"]
    assert {"label", "counting_set", "loggers", "checkpoint_minutes"}.isdisjoint(found)
    rows = views.variant_rows(config, "epochs")
    assert rows == [{"id": "mine", "label": "Mine", "epochs": 99}]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("", "variants.mine.label is empty"),
        (" \t\n", "variants.mine.label is empty"),
        ("\u200b\u00a0\u2060", "variants.mine.label is empty"),
        ("Other one", "variants.mine.label: other has 'Other one' too"),
        ("  Other\u00a0 one\u200b", "variants.mine.label: other has 'Other one' too"),
        ("\uff2fther one", "variants.mine.label: other has 'Other one' too"),
    ],
)
def test_a_label_that_tells_no_variant_from_another_is_refused(config, label, message):
    config["variants"] |= {"other": {"label": "Other one"}, "mine": {"label": label}}
    with pytest.raises(ConfigError, match=message):
        variants.refuse_labels(config)
    config["variants"]["mine"]["label"] = "other one \u5341"
    variants.refuse_labels(config)
    config["variants"] |= {"mine": {"label": label}, "other": None}
    config["variants"]["mine"] = None
    variants.refuse_labels(config)


def test_an_overlay_changes_neither_order_nor_another_variant(config):
    before = variants.training_settings(config, "log_sched")
    order = variants.trained(config)
    config["variants"]["modal_sched"] = {"label": "x", "lambda_0": 7.0}
    assert variants.trained(config) == order
    assert variants.training_settings(config, "log_sched") == before


@pytest.mark.parametrize(
    ("wrong", "call", "message"),
    [
        ({}, lambda c: variants.variant_settings(c, "nobody"), "variants: there is no 'nobody'"),
        ({"reference": "nobody"}, variants.reference, "reference: there is no variant 'nobody'"),
        (
            {"wise_ft": {"variants": ["nobody"]}},
            lambda c: variants.chosen(c, "wise_ft.variants"),
            "wise_ft.variants: no such variants: nobody",
        ),
        (
            {"training": DEFAULT["training"] | {"counting_set": "mian"}},
            counting_sets.trained_on,
            "counting_set: there is no 'mian'; counting_sets has main",
        ),
        (
            {"counting_set": DEFAULT["counting_set"] | {"confidence": 0.01}},
            lambda c: counting_sets.set_settings(c, "main"),
            "lower that too",
        ),
        ({}, lambda c: benchmarks.benchmark_settings(c, "mine"), "benchmarks: there is no 'mine'"),
        ({"reference": None}, views.ablation_settings, "as `reference`"),
        ({"network": "internet"}, laion.manifest, "laion.source: the miniature's parts"),
        ({"network": "internet"}, benchmarks.benchmark_list, "countbench.list: the links of"),
        (
            {"laion": DEFAULT["laion"] | {"source": "relaion400m"}},
            laion.manifest,
            "laion.source: relaion400m is on the internet",
        ),
        (
            {"laion": DEFAULT["laion"] | {"source": "local"}},
            laion.local_files,
            "laion.source: local needs laion.folder",
        ),
        (
            {"countbench": DEFAULT["countbench"] | {"variant": "intersection"}},
            benchmarks.intersection,
            "countbench.intersection must name its list",
        ),
    ],
)
def test_a_contradiction_names_its_key_and_what_there_is(config, wrong, call, message):
    with pytest.raises(ConfigError, match=message):
        call(config | wrong)


def test_only_leaves_out_all_other_variants(config):
    nulls, only = copy.deepcopy(config), copy.deepcopy(config) | {"only": ["norm_sched", "sord"]}
    for each in (only, nulls):
        each["ordinal_variants"] = True
        added_variants.add_ordinal(each)
    for name in set(nulls["variants"]) - {"norm_sched", "sord"}:
        nulls["variants"][name] = None
    variants.keep_only(nulls)  # null lists all
    variants.keep_only(only)
    assert only["variants"] == nulls["variants"]
    assert variants.trained(only) == ["norm_sched", "sord"]
    assert variants.reference(only) is None
    assert variants.chosen(only, "wise_ft.variants") == []
    config["variants"]["log_sched"] = None
    for name, why in (("sord", "is not there"), ("log_sched", "is set to null there")):
        with pytest.raises(ConfigError, match=f"only: {name} {why}; variants has lambda1_nosched"):
            variants.keep_only(config | {"only": ["norm_sched", name]})


def test_only_sets_that_a_variant_trains_on_are_made(config):
    config["counting_sets"] |= {"strict": {"confidence": 0.5}, "nobodys": {}}
    config["variants"]["mine"] = {"label": "Mine", "counting_set": "strict"}
    assert counting_sets.trained_on(config) == ["main", "strict"]
    assert counting_sets.set_settings(config, "strict")["confidence"] == 0.5
    assert counting_sets.set_settings(config, "main")["confidence"] == 0.25


def test_nouns_count_for_a_set_only_where_its_class_rule_reads_them(config):
    assert counting_sets.set_nouns(config, "main") == []
    config["counting_set"]["class_rule"] = "caption_noun"
    assert counting_sets.set_nouns(config, "main") == [config["counting_set"]["nouns"]]


def test_gpus_follow_the_key_of_each_rule(config):
    jobs = gpus.by_job(config)
    assert set(jobs.values()) == {0}
    config["evaluation"]["accelerator"] = "auto"
    config["variants"] = {
        "one": {"label": "1", "accelerator": "cuda"},
        "four": {"label": "4", "accelerator": "cuda", "devices": 4},
    }
    assert gpus.of_rule(config, "evaluate") == gpus.of_rule(config, "retrieve") == 1
    assert gpus.of_rule(config, "detect_objects") == gpus.of_rule(config, "make_table1") == 0
    jobs = gpus.by_job(config)
    assert (jobs["train_variant/one_seed"], jobs["train_variant/four_seed"]) == (1, 4)


def test_model_files_are_the_weights_the_config_and_the_merges(config):
    names = [path.rpartition("/")[2] for path in models.model_files(config)]
    assert names == [
        "miniature-vit.json",
        "miniature-vit.safetensors",
        "miniature-vit.merges.txt.gz",
    ]
    config["model"] = {"name": "ViT-B-32-quickgelu", "pretrained": "openai", "config": None}
    assert models.model_files(config) == []


def test_exported_weights_have_a_place_of_their_name(config):
    config["detector"] |= {"weights": "mine/yolov8n.pt", "export": "onnx"}
    assert detector.weights(config) == "results/weights/exported/yolov8n.onnx"


def test_images_of_a_table_are_those_inside_its_folder(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("data/3.jpg", "outside.jpg"):
        (tmp_path / name).write_bytes(b"x")
    table = tmp_path / "data/mine.csv"
    table.write_text("\ufeffimage,number,noun\n3.jpg,3,cats\n../outside.jpg,2,dogs\ngone.jpg,2,x\n")
    config["benchmarks"]["mine"] = {"source": "folder", "path": "data/mine.csv"}
    assert benchmarks.listed_images(config, "mine") == ["data/3.jpg"]
    (tmp_path / "data/u\u0308.jpg").symlink_to("../outside.jpg")
    table.write_text("image,number,noun\n\u00fc.jpg,3,cats\n" + "x" * 300 + ",2,dogs\n", "utf-8")
    assert benchmarks.listed_images(config, "mine") == ["data/u\u0308.jpg"]
    table.unlink()
    assert benchmarks.listed_images(config, "mine") == []


def test_paths_of_the_config_are_found_in_either_unicode_form(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Ku\u0308che").mkdir()
    (tmp_path / "Ku\u0308che/part-0.parquet").write_bytes(b"x")
    config["benchmarks"]["mine"] = {"source": "folder", "path": "K\u00fcche/mine.csv"}
    config["retention"]["tasks"]["mine"] = {"source": "folder", "folder": "K\u00fcche"} | {
        "annotations": None, "templates": "t.txt"
    }  # fmt: skip
    config["laion"] |= {"source": "local", "folder": "K\u00fcche", "parts": ["part"]}
    assert benchmarks.benchmark_settings(config, "mine")["path"] == "Ku\u0308che/mine.csv"
    assert retention.source(config, "mine")["folder"] == "Ku\u0308che"
    assert laion.local_files(config) == ["Ku\u0308che/part-0.parquet"]


def test_parts_have_the_names_of_their_files(config, tmp_path):
    march = "Ma\u0308rz 1.parquet"  # as a Mac writes it
    for name in (march, "part (2).parquet", "part.parquet", "日.parquet", "月.parquet"):
        (tmp_path / name).touch()
    for listed, name, file in (
        ("M\u00e4rz 1", "M_rz_1", march),
        ("M_rz_1", "M_rz_1", march),
        ("part (2)", "part__2_", "part (2).parquet"),
        ("part", "part", "part.parquet"),
        ("日", "_", "日.parquet"),
    ):
        config["laion"] |= {"source": "local", "folder": str(tmp_path), "parts": [listed]}
        assert laion.parts(config) == [name]
        assert laion.local_files(config) == [str(tmp_path / file)]
    config["laion"]["parts"] = ["日", "part", "月"]
    with pytest.raises(ConfigError, match="日 and 月 would both be _"):
        laion.parts(config)


def test_another_line_of_a_manifest_changes_no_part(config, tmp_path):
    path = tmp_path / "laion.tsv"
    path.write_text("part\turl\npart-00000\tu0\npart-00001\tu1\n")
    config["laion"]["manifest"] = str(path)
    before = laion.manifest_line(config, "part-00001")
    path.write_text(path.read_text() + "part-00002\tu2\n")
    assert laion.manifest_line(config, "part-00001") == before == "part-00001\tu1"
    assert laion.manifest_line(config, "part-00009") == ""


def test_runs_are_variants_times_seeds_and_predictions_begin_with_the_baseline(config):
    config["variants"] = {"a": {"label": "a"}, "b": {"label": "b"}}
    config["seeds"] = [1, 2]
    assert runs.each(config, "x/{variant}/{seed}") == ["x/a/1", "x/a/2", "x/b/1", "x/b/2"]
    paths = runs.predictions(config, "mine")
    assert paths[0] == "results/evaluation/mine/baseline/seed0/predictions.parquet"
    assert len(paths) == 5


# ---- images that somebody counted ----


def counted(config, **settings):
    config["counting_sets"]["main"] = {"source": "folder", "path": "data/pairs.csv"} | settings
    return config


def test_a_counting_set_of_counted_images_needs_no_laion_and_no_detector(config):
    assert counting_sets.needs_laion(config)
    assert (
        counting_sets.set_files(config, "main", "images")[0] == "results/images/part-00000.parquet"
    )
    counted(config)
    config["network"], config["detector"]["confidence_floor"] = "internet", 1.0
    assert not counting_sets.needs_laion(config)
    assert counting_sets.counted(config) == counting_sets.set_parts(config, "main") == ["main"]
    files = counting_sets.set_files(config, "main", "candidates", "json")
    assert files == ["results/counted/candidates/main.json"]
    assert counting_sets.candidates(config) == ["results/counted/candidates/main.parquet"]
    assert counting_sets.set_settings(config, "main")["class_rule"] == "none"
    source = counting_sets.set_source(config, "main")
    assert (source["images"], source["caption"]) == ("data", "{number} {noun}")
    assert "nouns" not in source
    config["detector"]["confidence_floor"] = 0.1
    counted(config, verify="detector", class_rule="any")
    assert counting_sets.set_settings(config, "main")["class_rule"] == "any"
    config["counting_sets"]["main"] = {"verify": "none"}
    assert counting_sets.set_settings(config, "main")["class_rule"] == "none"
    assert counting_sets.needs_laion(config)


def test_coco_is_counted_by_the_nouns_of_its_classes(config):
    counted(config, source="coco", path="instances.json", captions="captions.json")
    assert counting_sets.set_source(config, "main")["nouns"] == "resources/coco_nouns.csv"
    config["counting_sets"]["main"]["nouns"] = "mine.csv"
    assert counting_sets.set_source(config, "main")["nouns"] == "mine.csv"
    assert counting_sets.set_nouns(config, "main") == []  # of a detector's classes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"path": None}, "source: folder needs path"),
        ({"captions": "captions.json"}, "captions: not read of source: folder"),
        ({"source": "laion"}, "path: not read of source: laion"),
        ({"verify": "detector", "class_rule": "none"}, "class_rule none detects nothing"),
    ],
)
def test_keys_of_a_counting_set_that_contradict_each_other_are_named(config, wrong, message):
    counted(config, **wrong)
    call = counting_sets.set_settings if "verify" in wrong else counting_sets.set_source
    with pytest.raises(ConfigError, match=f"counting set main: .*{message}"):
        call(config, "main")


def test_a_replaced_image_of_a_counting_set_is_an_input(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data/a.png", "pool/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "data/pairs.csv").write_text("image,caption\na.png,two\nb.png,two\n../x,two\n")
    assert counting_sets.counted_images(counted(config), "main") == ["data/a.png"]
    assert counting_sets.counted_images(counted(config, images="pool"), "main") == ["pool/b.png"]
    assert counting_sets.counted_images(counted(config, source="tallyqa"), "main") == []


# ---- a run without CountBench ----


def test_the_first_further_benchmark_stands_for_a_countbench_that_is_null(config):
    assert benchmarks.main_benchmark(config) == "countbench"
    assert benchmarks.main_table(config) == "results/table1.csv"
    assert counting_sets.kept_apart(config, "main") == "results/countbench/benchmark.parquet"
    assert benchmarks.other_benchmark(config, "own") == "results/countbench/benchmark.parquet"
    config["countbench"]["list"] = None
    config["benchmarks"] |= {"own": None, "mine": {"source": "folder", "path": "x.csv"}, "b": {}}
    assert benchmarks.main_benchmark(config) == "mine"
    assert benchmarks.main_table(config) == "results/benchmarks/mine/table.csv"
    assert counting_sets.kept_apart(config, "main") == "results/benchmarks/mine/benchmark.parquet"
    assert benchmarks.other_benchmark(config, "mine") == []
    assert benchmarks.other_benchmark(config, "b") == "results/benchmarks/mine/benchmark.parquet"
    assert (
        benchmarks.countbench_file(config, "summary.json")
        == retention.wise_ft_variants(config)
        == []
    )
    config["counting_set"]["decontaminate"] = []
    assert counting_sets.kept_apart(config, "main") == []
    with pytest.raises(ConfigError, match="countbench.list is null.*results/benchmarks/<id>/table"):
        benchmarks.benchmark_list(config)
    config["benchmarks"] = {"own": None}
    with pytest.raises(ConfigError, match="countbench.list is null, and `benchmarks` has none"):
        benchmarks.main_benchmark(config)


@pytest.fixture
def composed(config) -> dict:
    """A set of counted images that a detector verifies, and one composed from it."""
    config["counting_sets"] |= {
        "shelf": {"source": "folder", "path": "shelf.csv", "verify": "detector", "confidence": 0.5},
        "more": {"from": "shelf", "per_number": 40, "compose": {"margin": 0.2}},
    }
    config["variants"] = {"mine": {"label": "Mine", "counting_set": "more"}}
    return config


def test_a_composed_set_is_made_of_its_origins_files_and_settings(composed):
    assert counting_sets.trained_on(composed) == ["more"]
    assert counting_sets.composed(composed) == counting_sets.all_composed(composed) == ["more"]
    assert counting_sets.assembled(composed) == counting_sets.counted(composed) == ["shelf"]
    assert not counting_sets.needs_laion(composed)
    assert counting_sets.candidates(composed) == ["results/counted/candidates/shelf.parquet"]
    assert counting_sets.set_files(composed, "more", "detections") == [
        "results/counted/detections/shelf.parquet"
    ]
    assert counting_sets.image_manifests(composed, "more") == [
        "results/counted/images/shelf.parquet",
        "results/composed/images/more.parquet",
    ]
    assert counting_sets.image_manifests(composed, "shelf") == [
        "results/counted/images/shelf.parquet"
    ]
    found = counting_sets.compose_settings(composed, "more")
    assert found["parts"] == ["shelf"]
    assert found["counting_set"]["confidence"] == 0.5
    assert found["compose"] == composed["compose"] | {"margin": 0.2}
    composed["counting_sets"]["more"] = {"from": "main", "per_number": 40, "compose": None}
    assert counting_sets.needs_laion(composed)
    assert counting_sets.compose_settings(composed, "more")["parts"] == ["part-00000", "part-00001"]
    assert counting_sets.compose_settings(composed, "more")["compose"] == composed["compose"]


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("more", {"from": "attic"}, "more: from: there is no 'attic'; counting_sets has main, she"),
        ("more", {"from": "more"}, "more: from: 'more' is composed itself"),
        ("more", {"heldout_fraction": 0.2}, "more: heldout_fraction: of its pairs.*'shelf': set"),
        ("shelf", {"verify": "none"}, "more: from: no detector looks at the pairs of 'shelf'"),
    ],
)
def test_a_composed_set_that_cannot_be_is_named(composed, name, changed, message):
    composed["counting_sets"][name] |= changed
    with pytest.raises(ConfigError, match=message):
        counting_sets.compose_settings(composed, "more")


def test_a_composed_set_needs_a_number_and_a_name_that_no_part_has(composed):
    composed["laion"]["parts"].append("more")
    composed["counting_sets"]["more"]["from"] = "main"
    with pytest.raises(ConfigError, match="more: a part is called so too"):
        counting_sets.image_manifests(composed, "more")
    del composed["counting_sets"]["more"]["per_number"]
    with pytest.raises(ConfigError, match="more: needs per_number"):
        counting_sets.origin(composed, "more")
    composed["counting_sets"]["shelf"]["per_number"] = 9
    with pytest.raises(ConfigError, match="shelf: per_number: of composed sets alone; say `from`"):
        counting_sets.set_settings(composed, "shelf")
