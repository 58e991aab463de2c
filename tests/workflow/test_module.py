"""The workflow as a part of somebody else's."""

import subprocess
import sys

from .conftest import HOME

OUTER = """
module countclip:
    snakefile: "{home}/Snakefile"
    prefix: "counting"

use rule * from countclip as countclip_*

rule own:
    input: "counting/results/table1.csv"
    output: "own.csv"
    shell: "cp {{input}} {{output}}"
"""


def snakemake(folder, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout + done.stderr


def test_another_workflow_uses_it_as_a_module(tmp_path):
    (tmp_path / "Snakefile").write_text(OUTER.format(home=HOME), encoding="utf-8")
    planned = snakemake(tmp_path, "own", "-n", "--quiet", "rules")
    assert "countclip_train_variant" in planned
    part = "counting/results/candidates/part-00000.parquet"
    (tmp_path / "small.yaml").write_text("miniature: {rows: 300}\n", encoding="utf-8")
    snakemake(tmp_path, part, "--configfile", "small.yaml")
    assert (tmp_path / part).is_file()
    assert (tmp_path / "counting/logs/filter_captions/part-00000.log").is_file()
