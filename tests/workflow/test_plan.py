"""What Snakemake plans: nothing is run here."""

import re
import subprocess
import sys

import pytest

from countclip.settings import config_files

from .conftest import DEFAULT, HOME, KEPT, Workflow, dry_runs
from .dry_runs import jobs

SCHEMA = config_files.load(HOME / "workflow/schemas/config.schema.yaml")


def keys(schema, path=()):
    """Every key of the schema with its own schema, variants and figures by their pattern."""
    for name, below in schema.get("properties", {}).items():
        yield (*path, name), below
        yield from keys(below, (*path, name))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from keys(schema["additionalProperties"], (*path, "<name>"))


def test_the_main_job_is_planned_from_nothing(tmp_path):
    planned = Workflow(tmp_path).plan("results/table1.csv")
    parts, kept = len(DEFAULT["laion"]["parts"]), len(KEPT)
    once = (
        "make_world",
        "ask_countbench",
        "audit_countbench",
        "repair_countbench",
        "assemble_counting_set",
        "pack_images",
        "pack_benchmark",
        "make_table1",
    )
    each = ("download_part", "filter_captions", "fetch_images", "detect_objects")
    expected = dict.fromkeys(once, 1) | dict.fromkeys(each, parts)
    assert planned == expected | {"train_variant": kept, "evaluate": 1 + kept}


OVERLAYS = {
    "tiny": {},
    "naive": {"counting_set": {"class_rule": "none"}},
    "fewer variants": {"variants": {"lambda1_sched": None}},
    "ordinal": {"ordinal_variants": True},
    "soft": {"soft_variants": True},
}
PAPERS = {
    "paper": ("paper",),
    "paiss": ("paper", "paiss"),
    "textvqa": ("paper", "textvqa"),
}  # overlays in config/ as they stand
WRONG = [
    ({"trianing": {"epochs": 1}}, "config: Additional properties are not allowed ('trianing'"),
    ({"training": {"epochs": 0}}, "training.epochs: 0 is less than the minimum"),
    (
        {"training": {"learning_rate": "1e-5"}},
        "training.learning_rate: '1e-5' is not of type 'number'",
    ),
    ({"variants": {"baseline": {"label": "mine"}}}, "variants: 'baseline' does not match"),
    ({"variants": {"mine": {"label": "mine", "lamda_0": 2}}}, "variants.mine: Additional"),
    ({"training": {"counting_set": "mian"}}, "there is no 'mian'"),
    ({"network": "internet"}, "laion.source: the miniature's parts are on the miniature's"),
    ({"laion": {"source": "relaion400m"}}, "laion.source: relaion400m is on the inter"),
    (
        {"network": "internet", "laion": {"source": "relaion400m"}},
        "countbench.list: the links of results/miniature/countbench.json are on the min",
    ),
    ({"counting_set": {"confidence": 0.05}}, "kept from detector.confidence_floor, 0.1"),
    ({"figures": {"confusion": {"figure3": {"variants": ["nobody"]}}}}, "figure3.variants: no"),
    ({"countbench": {"copy": str(HOME / "config")}}, f"countbench.copy: {HOME}/config is a fold"),
    ({"reading": {"source": "hub"}}, "reading.source: the hub is on the internet, and network is"),
    ({"reading": {"variants": ["hard"]}}, "reading.variants: there is no hard; name some of"),
]
OVERLAYS |= {complaint: overlay for overlay, complaint in WRONG}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """What a dry run of `all` with each config says: jobs by rule, or the error. Without a token,
    and with a proxy where nobody listens."""
    workflow = Workflow(tmp_path_factory.mktemp("planned"))
    commands = {
        name: workflow.where(overlay, name=f"overlay{number}")
        for number, (name, overlay) in enumerate(OVERLAYS.items())
    }
    for name, overlays in PAPERS.items():
        commands[name] = workflow.where({}, [HOME / f"config/{file}.yaml" for file in overlays])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HF_TOKEN", raising=False)
        patch.setenv("https_proxy", "http://127.0.0.1:9")
        return dict(zip(commands, dry_runs(list(commands.values())), strict=True))


def test_the_papers_run_is_planned_without_network_or_token(planned):
    """config/paper.yaml as it stands: the jobs of the real chain, and none of the miniature's."""
    planned = planned["paper"]
    chain = ("make_manifest", "download_part", "filter_captions", "fetch_images",
             "fetch_weights", "detect_objects",
             "download_countbench", "ask_countbench", "audit_countbench", "repair_countbench",
             "assemble_counting_set", "pack_images", "make_table1",
             "plot_class_frequency", "plot_lambdas", "plot_training_curves", "all")  # fmt: skip
    runs = 11 * 3  # Table 1's variants, three seeds each
    runs = {"train_variant": runs, "evaluate": 1 + runs, "plot_confusion": 3}
    expected = dict.fromkeys(chain, 1) | runs
    assert {rule: planned.get(rule, 0) for rule in expected} == expected
    miniature = (HOME / "workflow/rules/miniature.smk").read_text(encoding="utf-8")
    assert planned.keys().isdisjoint(re.findall(r"^rule (\w+):", miniature, re.M))


def test_the_run_of_paiss_is_planned_over_the_papers(planned):
    """Three variants on two counting sets, one of them by captions alone; all of LAION."""
    planned = planned["paiss"]
    expected = {"train_variant": 3, "evaluate": 4, "assemble_counting_set": 2}
    expected |= {"pack_images": 2, "download_part": 32, "detect_objects": 32}
    assert {rule: planned.get(rule, 0) for rule in expected} == expected
    # The plugin never submits an array of which a limit holds a part back.
    profile = config_files.load(HOME / "profiles/slurm/profile.yaml")
    assert profile["jobs"] > sum(planned.values())


def test_textvqa_comes_from_the_hub_with_a_training_a_row(planned):
    """config/textvqa.yaml over the paper's; without it nothing but the published numbers."""
    assert {rule for rule in planned["paper"] if "reading" in rule} == {"make_reading_published"}
    planned = planned["textvqa"]
    expected = {"make_reading_manifest": 1, "download_reading_split": 2, "make_reading_split": 2}
    expected |= {"train_reading": 21, "cluster_reading": 4, "make_reading_table": 1}
    expected |= {"pack_reading_images": 1 + 4}  # views of the validation split
    assert {rule: planned.get(rule, 0) for rule in expected} == expected
    assert "draw_signs" not in planned


def test_naive_filtering_detects_nothing(planned):
    assert "detect_objects" not in planned["naive"]
    assert planned["tiny"]["detect_objects"] == len(DEFAULT["laion"]["parts"])
    assert planned["naive"]["assemble_counting_set"] == 1


RESOURCES = """
import sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings
snakefile, folder, config = map(Path, sys.argv[1:])
with SnakemakeApi(OutputSettings()) as asked:
    workflow = asked.workflow(
        ResourceSettings(cores=1), ConfigSettings(configfiles=[config]),
        snakefile=snakefile, workdir=folder,
    )
    workflow.dag(DAGSettings(targets={"all"})).summary()
    jobs = list(workflow._workflow.dag.jobs)
    print("GPU", *sorted({job.rule.name for job in jobs if job.resources.get("gpu")}))
"""


def test_all_that_asks_models_holds_a_gpu_where_one_is_wanted(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    models = (
        "classify_zero_shot embed_ordinal embed_reading evaluate look_at_reading_views"
        " measure_relevancy measure_retention predict_ordinal predict_reading_statements"
        " read_reading_words retrieve sweep_wise_ft"
    )
    for accelerator, expected in (("cpu", ""), ("cuda", f" {models}")):
        overlay.write_text(f"evaluation: {{accelerator: {accelerator}}}\n")
        done = subprocess.run(
            [sys.executable, "-c", RESOURCES, HOME / "Snakefile", tmp_path, overlay],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert re.findall("^GPU(.*)$", done.stdout, re.M) == [expected]


PARSE = """
import sys
from snakemake.cli import get_argument_parser, main
get_argument_parser()  # loads the plugins, of which one needs pandas
before = set(sys.modules)
try:
    main(sys.argv[1:])
finally:
    roots = {name.split(".")[0] for name in sys.modules.keys() - before}
    print("NEW", *sorted(roots - sys.stdlib_module_names))
    print("OURS", *sorted(name for name in sys.modules if name.startswith("countclip")))
"""


def test_parsing_imports_nothing_heavy(tmp_path):
    """Every job of a cluster parses the rules again: no torch, pandas or pyarrow for that."""
    where = Workflow(tmp_path).where({})
    done = subprocess.run(
        [sys.executable, "-c", PARSE, "all", "-n", "--quiet", "--cores", "1", *where],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    print(done.stdout)
    new, ours = (re.search(rf"^{name} (.*)$", done.stdout, re.M)[1] for name in ("NEW", "OURS"))
    rooms = {
        "benchmarks": "adapters",
        "data": "addresses captions number_words published_sets",
        "experiments.ordinal": "methods settings task",
        "experiments.reading": "hard_on settings variants",
        "experiments.soft_labels": "settings",
        "runtime": "csv_files files folders machine provenance resources",
        "settings": "added_variants benchmarks common config_files counting_sets detector"
        " experiments gpus laion models network paths results retention runs soft_targets"
        " user_files variants views zero_shot",
    }
    modules = {
        f"countclip.{room}.{name}" for room, names in rooms.items() for name in names.split()
    }
    packages = {name.rpartition(".")[0] for name in ours.split()}
    assert modules == set(ours.split()) - packages - {"countclip"}
    heavy = {"torch", "open_clip", "ultralytics", "polars", "pandas", "pyarrow", "matplotlib"}
    assert "countclip" in new
    assert heavy.isdisjoint(new.split())


@pytest.mark.parametrize("complaint", [complaint for _, complaint in WRONG])
def test_a_wrong_config_is_named_before_anything_runs(planned, complaint):
    output = planned[complaint]
    assert isinstance(output, str), output
    assert complaint in output
    assert len(output.splitlines()) < 40  # the schema alone has 600


def test_the_start_says_what_is_laid_over_the_default_and_what_is_dropped(tmp_path):
    for name, text in (("first", "seeds: [3]"), ("last", "wise_ft: {variants: []}\nseeds: [5, 6]")):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    first, last = tmp_path / "first.yaml", tmp_path / "last.yaml"
    target, workflow = "results/table1.csv", Workflow(tmp_path / "run")
    both = workflow(target, "-n", "--quiet", "rules", cores=1, only=[first, last])
    assert f"over them, in this order: {first} (1 key), {last} (2 keys)\n" in both
    assert "more than once" not in both
    assert jobs(both)["train_variant"] == 2 * len(DEFAULT["variants"])
    dropped = workflow("--configfile", str(first), target, "-n", cores=1, only=[last])
    assert f"over them, in this order: {last} (2 keys)\n" in dropped
    assert f"reads the last alone, without {first}, {target}." in dropped


def test_a_key_that_stands_twice_is_refused_before_anything_runs(tmp_path):
    overlay = tmp_path / "twice.yaml"
    overlay.write_text("seeds: [1]\nevaluation:\n  batch: 2\n  batch: 4\n", encoding="utf-8")
    said = Workflow(tmp_path / "run")("-n", cores=1, fails=True, only=[overlay])
    assert f"{overlay}: evaluation.batch stands in lines 3 and 4" in said


def test_a_number_inside_config_is_shown_as_a_file_has_it(tmp_path):
    argument = ("--config", "training={batch_size: 8}")
    said = Workflow(tmp_path)("-n", *argument, cores=1, fails=True)
    assert "training.batch_size: '8' is not of type 'integer'" in said
    assert "\n    training: {batch_size: 8}\nand name it: --configfile that.yaml" in said


def test_a_target_of_an_unknown_variant_names_those_that_there_are(tmp_path):
    output = Workflow(tmp_path)(
        "results/training/nobody/seed1/end.safetensors", "-n", cores=1, fails=True
    )
    assert f"variants: there is no 'nobody'; there are {', '.join(KEPT)}" in output


def test_a_variant_that_is_left_out_is_left_out_wherever_it_is_named(planned):
    """As a reference, in figures, in retrieval and relevancy, and for the weights in between."""
    assert "lambda1_sched" in DEFAULT["wise_ft"]["variants"]
    assert "make_ablations" in planned["tiny"]
    planned = planned["fewer variants"]
    assert (planned["train_variant"], planned["sweep_wise_ft"]) == (1, 1)
    assert "make_ablations" not in planned


@pytest.mark.parametrize(("key", "variants"), [("ordinal", 5), ("soft", 16)])
def test_one_key_adds_variants(planned, key, variants):
    """To trainings, evaluations and tables; what lists variants by name goes without them."""
    off, on = planned["tiny"], planned[key]
    more = {rule: n - off[rule] for rule, n in on.items() if n != off[rule]}
    assert more == {
        "train_variant": variants,
        "evaluate": variants * (1 + len(DEFAULT["benchmarks"])),
        "measure_retention": variants * len(DEFAULT["retention"]["tasks"]),
    }
    assert on["make_ablations"] == 1


def test_every_key_is_described():
    described = dict(keys(SCHEMA))
    missing = [
        path
        for path, below in described.items()
        if len(path) > 1 and "description" not in below and "properties" not in below
        and "additionalProperties" not in below
    ]  # fmt: skip
    assert len(described) > 80
    assert missing == []


def test_the_default_config_sets_every_key_of_the_schema():
    def unset(schema, config, path=()):
        for name, below in schema.get("properties", {}).items():
            if name not in config:
                yield (*path, name)
            elif isinstance(config[name], dict):
                yield from unset(below, config[name], (*path, name))

    assert list(unset(SCHEMA, DEFAULT)) == []


def test_every_rule_has_a_spec_a_digest_of_its_code_and_a_log():
    for file in (HOME / "workflow/rules").glob("*.smk"):
        text = file.read_text(encoding="utf-8")
        for name, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\w|\Z)", text, re.M | re.S):
            assert re.search(rf'\*code\(\s*"{name}"', body), (file.name, name)
            assert "spec=" in body, (file.name, name)
            assert "log:" in body, (file.name, name)
            assert (HOME / f"workflow/scripts/{name}.py").is_file(), name


def test_a_variant_of_an_overlay_comes_after_the_others(tmp_path):
    own = {"mine": {"label": "mine"}, KEPT[1]: {"label": "another"}}
    planned = Workflow(tmp_path)("results/figures/training_curves.svg", "-n", cores=1, variants=own)
    inputs = re.search(r"rule plot_training_curves:\n +input: (.*)", planned)[1]
    assert re.findall(r"training/(\w+)/", inputs) == [*KEPT, "mine"]
