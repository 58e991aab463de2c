"""The registry of results against the rules that make them."""

import copy
import re
from pathlib import Path

import pytest

from countclip.runtime.resources import HOME
from countclip.settings import config_files, results

DEFAULT = config_files.default()
RULES = dict(
    re.findall(
        r"^rule (\w+):\n(.*?)(?=^\S|\Z)",
        "".join(f.read_text(encoding="utf-8") for f in (HOME / "workflow/rules").glob("*.smk")),
        re.M | re.S,
    )
)


@pytest.mark.parametrize("result", results.RESULTS, ids=lambda result: result.path)
def test_a_rule_makes_each_of_its_files(result):
    output = RULES[result.rule].partition("output:")[2].partition("log:")[0]
    made = {re.sub(r"\{\w+\}", "*", path) for path in re.findall(r'"(results/.*?)"', output)}
    assert set(result.patterns()) <= made


def test_every_section_has_a_result_and_every_result_a_section():
    sections = {section.id for section in results.SECTIONS}
    assert sections == {result.section for result in results.RESULTS}


def test_a_file_has_one_section_wherever_results_lies():
    for file in results.targets(DEFAULT):
        found = results.section_of(f"runs/mine/{file}")
        assert [r for r in results.RESULTS if r.section == found and file in r.files(DEFAULT)]
    with pytest.raises(ValueError, match="settings/results.py"):
        results.section_of("results/figures/nobody.png")


def test_results_follow_the_config():
    config = copy.deepcopy(DEFAULT)
    assert "results/wise_ft.csv" in results.targets(config)
    config["retention"]["tasks"] = dict.fromkeys(config["retention"]["tasks"])
    config["reference"] = None
    targets = results.targets(config)
    assert not [file for file in targets if "retention" in file or "wise_ft" in file]
    assert "results/ablations.csv" not in targets
    assert {Path(file).suffix for file in targets} >= {".csv", ".md", ".svg", ".png"}


def test_a_run_without_countbench_has_nothing_that_is_measured_on_it():
    config = copy.deepcopy(DEFAULT)
    config["countbench"]["list"] = None
    targets = results.targets(config)
    on_countbench = ("table1", "confusion", "ablations", "wise_ft", "retrieval", "relevancy")
    assert not [file for file in targets if any(name in file for name in on_countbench)]
    assert {"results/benchmarks/own/table.csv", "results/retention.csv"} <= set(targets)
