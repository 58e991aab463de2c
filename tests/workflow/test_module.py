"""The workflow as a part of somebody else's."""

import subprocess
import sys

import pytest
import yaml

from .conftest import HOME, snakemake
from .dry_runs import jobs

OUTER = """
module countclip:
    snakefile: "{home}/Snakefile"
    prefix: "counting"
    {config}

use rule * from countclip as countclip_*

rule own:
    input: "counting/results/table1.csv"
    output: "own.csv"
    shell: "cp {{input}} {{output}}"
"""
PLAN = ("-n", "--quiet", "rules", "--cores", "1")
OF_ITS_OWN = 'config: config["countclip"]'


@pytest.fixture
def outer(tmp_path):
    """Writes a workflow that uses this one, and the file that it is configured with."""

    def write(config: dict, module: str = OF_ITS_OWN) -> list[str]:
        text = OUTER.format(home=HOME, config=module)
        (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
        (tmp_path / "outer.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return ["--configfile", "outer.yaml"]

    return write


def test_another_workflow_uses_it_as_a_module(tmp_path, outer):
    """What it makes for itself is found again under the prefix."""
    made = [
        "counting/results/candidates/part-00000.parquet",
        "counting/results/retention/pairs/images.npy",
    ]
    overlay = outer({"countclip": {"miniature": {"rows": 300}}})
    snakemake(*made, "--cores", "1", *overlay, folder=tmp_path)
    for file in (*made, "counting/logs/filter_captions/part-00000.log"):
        assert (tmp_path / file).is_file()


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (OF_ITS_OWN, {"countclip": {"seeds": [1, 2]}}),
        ("", {"seeds": [1, 2], "samples": "mine.csv"}),
    ],
)
def test_a_modules_config_is_what_differs_from_the_default(tmp_path, outer, module, config):
    planned = jobs(snakemake("own", *PLAN, *outer(config, module), folder=tmp_path))
    assert planned["countclip_train_variant"] == 2 * 12


def test_a_wrong_key_of_a_modules_own_config_is_named(tmp_path, outer):
    overlay = outer({"countclip": {"sedes": [1]}})
    said = snakemake("own", *PLAN, *overlay, folder=tmp_path, fails=True)
    assert "config: Additional properties are not allowed ('sedes' was" in said


PARAMS = """
import sys
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings
from pathlib import Path
with SnakemakeApi(OutputSettings()) as asked:
    workflow = asked.workflow(
        ResourceSettings(cores=1), ConfigSettings(configfiles=[Path("outer.yaml")]),
        snakefile=Path("Snakefile"),
    )
    workflow.dag(DAGSettings(targets={"counting/results/report.html"})).summary()
    params = {job.rule.name: job.params for job in workflow._workflow.dag.jobs}
    print("COSTS", params["countclip_render_report"].costs)
    print("WEIGHTS", params["countclip_detect_objects"].weights)
"""


def test_what_scripts_look_for_lies_under_the_prefix(tmp_path, outer):
    paper = yaml.safe_load((HOME / "config/paper.yaml").read_text(encoding="utf-8"))
    outer({"countclip": paper})
    done = subprocess.run(
        [sys.executable, "-c", PARAMS], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "COSTS counting/results/costs/paper\n" in done.stdout
    assert "WEIGHTS counting/results/weights/yolov8n.pt\n" in done.stdout
