import csv
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq

from countclip.runtime.provenance import canonical
from countclip.runtime.resources import HOME
from countclip.settings import config_files
from countclip.settings.plan import Job, expected_amounts, measured_costs, report

DEFAULT = config_files.default()
COSTS = HOME / "resources/costs.csv"
RULES = {  # name -> its file, its text
    name: (file.stem, body)
    for file in (HOME / "workflow/rules").glob("*.smk")
    for name, body in re.findall(
        r"^(?:rule|use rule \w+ as) (\w+)(.*?)(?=^\S|\Z)", file.read_text(), re.M | re.S
    )
}


CODE = ("countclip.runtime.files 0123abcd", "countclip.training.losses 4567abcd")


def job(spec, recorded=None, more=(), before=(), **about):
    """One of a rule with two modules; more: its further params, before: those of the last run."""
    about = {"rule": "train_variant", "missing": False, "is_direct": True} | about
    params, old = (
        [*map(repr, CODE), *map(repr, others), repr(canonical(keys))]
        for keys, others in ((spec, more), (recorded, before))
    )
    return Job(params=params, recorded=None if recorded is None else old, **about)


def test_a_changed_key_is_named_with_both_values(tmp_path):
    old = {"training": {"learning_rate": 1e-4, "epochs": 3}, "model": {"name": "ViT"}}
    new = {
        "training": {"learning_rate": 5e-6, "epochs": 3},
        "model": {"name": "ViT", "config": "x"},
    }
    text = report([job(new, old)] * 2, DEFAULT, tmp_path, COSTS)
    assert "training.learning_rate: 0.0001 -> 5e-06\n    train_variant (2)" in text
    assert 'model.config: (none) -> "x"' in text
    assert "epochs" not in text


def test_other_causes_are_told_apart(tmp_path):
    same = {"scale": "paper"}
    jobs = [
        job(same, same, is_direct=False, rule="two"),
        job(same, None, missing=True, rule="three"),
        job(same, same, rule="four"),
        job(same, same, ("part-0\turl\t9",), ("part-0\turl\t8",), rule="five"),
        job(same, same, ("results/costs/paper",), ("results/costs/tiny",), rule="six"),
    ]
    text = report(jobs, DEFAULT, tmp_path, COSTS)
    assert "an earlier job runs\n    two (1)" in text
    assert "its results are not there yet\n    three (1)" in text
    assert "its inputs are newer, others, or unfinished\n    four (1)" in text
    assert "its line of the manifest: part-0 url 8 -> part-0 url 9\n    five (1)" in text
    assert "another parameter: results/costs/tiny -> results/costs/paper\n    six (1)" in text


def test_a_changed_file_is_named_as_a_module_or_a_resource(tmp_path):
    same = {"scale": "paper"}
    new, old = "countclip.data.captions 11111111", "countclip.data.captions 22222222"
    nouns = ("resources/my nouns.csv 33333333",)  # of a param that depends on wildcards
    jobs = [job(same, same, (new,), (old,), rule="one"), job(same, same, (nouns,), ((),))]
    text = report(jobs, DEFAULT, tmp_path, COSTS).split("## Why")[1]
    assert "countclip.data.captions changed: 22222222 -> 11111111\n    one (1)" in text
    assert "resources/my nouns.csv changed: (none) -> 33333333\n    train_variant (1)" in text
    assert "losses" not in text


def test_nothing_to_do_is_said(tmp_path):
    assert "Nothing to be done" in report([], DEFAULT, tmp_path, COSTS)


def test_what_earlier_jobs_took_goes_before_the_defaults(tmp_path):
    (tmp_path / "train_variant").mkdir()
    for name, seconds in (("a_seed1", 1800), ("b_seed1", 5400)):
        file = tmp_path / f"train_variant/{name}.tsv"
        file.write_text(f"s\th:m:s\tmax_rss\n{seconds}.0\t0:00:00\t1\n")
    (tmp_path / "make_world.tsv").write_text("s\th:m:s\n9.0\t0:00:09\n")
    assert measured_costs(tmp_path) == {
        "train_variant": (3600.0, "2 jobs here"),
        "make_world": (9.0, "1 jobs here"),
    }
    text = report([job({}, missing=True)] * 3, DEFAULT, tmp_path, COSTS)
    line = next(line for line in text.splitlines() if line.startswith("train_variant"))
    assert line.split()[:3] == ["train_variant", "3", "3.00"]
    assert line.endswith("2 jobs here")
    # The config says what runs on GPUs; disk is not measured and still comes from the defaults.
    paper = DEFAULT | {"scale": "paper", "training": DEFAULT["training"] | {"accelerator": "auto"}}
    text = report([job({}, missing=True)] * 3, paper, tmp_path, COSTS)
    line = next(line for line in text.splitlines() if line.startswith("train_variant"))
    assert line.split()[1:5] == ["3", "-", "3.00", "5.40"]


def test_what_is_expected_follows_the_config():
    rows = DEFAULT["miniature"]["rows"]
    amounts = expected_amounts(DEFAULT)
    assert amounts["rows"] == rows
    assert expected_amounts(DEFAULT | {"seeds": [1, 2, 3]})["runs"] == 3 * amounts["variants"]
    half = DEFAULT | {"laion": DEFAULT["laion"] | {"parts": ["part-00000"]}}
    assert expected_amounts(half)["rows"] == rows / 2
    fixed = DEFAULT | {"training": DEFAULT["training"] | {"steps": 77}}
    assert expected_amounts(fixed)["steps a run"] == 77 != amounts["steps a run"]
    capped = DEFAULT["counting_set"] | {"max_per_number": [10] * 9}
    assert expected_amounts(DEFAULT | {"counting_set": capped})["counting pairs of a set"] == 90


def test_rows_of_local_files_are_counted(tmp_path):
    pq.write_table(pa.table({"TEXT": ["two cats"] * 3}), tmp_path / "mine-0.parquet")
    laion = {"source": "local", "folder": str(tmp_path), "parts": ["mine"]}
    amounts = expected_amounts(DEFAULT | {"network": "internet", "laion": DEFAULT["laion"] | laion})
    assert (amounts["parts"], amounts["rows"]) == (1, 3)


def test_every_default_cost_is_one_of_a_rule_in_a_unit_that_is_expected():
    with open(COSTS, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    amounts = expected_amounts(DEFAULT)
    for line in lines:
        assert line["rule"] in RULES, line
        assert not line["unit"] or line["unit"] in amounts, line
        assert line["source"], line
    assert len({(line["scale"], line["rule"]) for line in lines}) == len(lines)


def test_every_rule_that_takes_time_has_a_default_cost():
    """Those that run where Snakemake does are short; the miniature's own have no other scale."""
    with open(COSTS, encoding="utf-8", newline="") as file:
        priced = {line["rule"] for line in csv.DictReader(file) if line["scale"] == "paper"}
    measured = {name for name, (_, body) in RULES.items() if "cost(" in body}
    short = {name for name, (_, body) in RULES.items() if "localrule: True" in body}
    assert measured.isdisjoint(short)
    assert measured | short == set(RULES)
    assert priced == {name for name in measured if RULES[name][0] != "miniature"}


def test_a_brace_in_a_text_is_no_wildcard_of_snakemake_and_reads_back() -> None:
    value = {"prompt": 'a "{query}" \\', "empty": {}}
    text = canonical(value)
    assert "{query" not in text
    assert json.loads(text) == value
