"""Profiles, container and catalog entry say nothing of rules and versions that are not there."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from packaging.version import Version
from snakemake.profiles import ProfileConfigFileParser

from countclip.runtime.resources import HOME

RULES = set(
    re.findall(
        r"^rule (\w+):",
        "".join(file.read_text() for file in (HOME / "workflow/rules").glob("*.smk")),
        re.M,
    )
)
DEFAULT = yaml.safe_load((HOME / "profiles/default/profile.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_profile_names_rules_that_exist_and_reruns_as_the_default_does(name):
    text = (HOME / f"profiles/{name}/profile.yaml").read_text(encoding="utf-8")
    profile = yaml.safe_load(text)
    offered = re.findall(r"^# ?  (\w+):$", text, re.M)  # examples that are commented out
    arrays = profile.get("slurm-array-jobs", "").split(", ") if name == "slurm" else []
    assert {*profile.get("set-resources", {}), *offered, *arrays} <= RULES
    for key in ("rerun-triggers", "rerun-incomplete", "keep-going"):
        assert profile[key] == DEFAULT[key]
    assert "resources" not in profile  # it would cap the whole cluster


def test_no_failed_job_of_this_machine_prints_its_log_after_its_message():
    assert DEFAULT["show-failed-logs"] is False


def test_slurm_settings_are_those_of_the_plugin():
    """Those offered as comments too, which Snakemake cannot refuse."""
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm")  # .ci/run installs it
    text = (HOME / "profiles/slurm/profile.yaml").read_text(encoding="utf-8")
    named = {name.replace("-", "_") for name in re.findall(r"^(?:# )?slurm-([a-z-]+):", text, re.M)}
    known = {setting.name for setting in dataclasses.fields(plugin.ExecutorSettings)}
    assert {"array_jobs", "efficiency_report", "requeue", "status_command"} <= named <= known


def test_slurms_partitions_are_found_wherever_the_run_lies(monkeypatch):
    """Snakemake changes to --directory before the plugin reads them."""
    monkeypatch.chdir(HOME)
    monkeypatch.setenv("PWD", str(HOME))  # as every shell does
    with open("profiles/slurm/profile.yaml", encoding="utf-8") as file:
        read = ProfileConfigFileParser().parse(file)
    assert Path(read["slurm-partition-config"]) == HOME / "profiles/slurm/partitions.yaml"


def test_slurm_has_a_partition_with_gpus_and_one_without():
    text = (HOME / "profiles/slurm/partitions.yaml").read_text(encoding="utf-8")
    gpus = [limits.get("max_gpu", 0) for limits in yaml.safe_load(text)["partitions"].values()]
    assert min(gpus) == 0 < max(gpus)


def test_the_container_has_the_python_and_the_packages_of_the_lock():
    lines = (HOME / "container/Dockerfile").read_text(encoding="utf-8").splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if re.match(r"[A-Z]+ ", line)]
    image = dict(instructions)["FROM"]
    wanted = yaml.safe_load((HOME / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    python = next(str(line) for line in wanted if str(line).startswith("python"))
    ours = Version(re.search(r"python:([\d.]+)", image)[1])
    assert f"{ours.major}.{ours.minor}" in python
    copied = [words.split()[0] for name, words in instructions if name == "COPY"]
    assert copied == ["requirements.txt"]
    assert any("requirements.txt" in words for name, words in instructions if name == "RUN")


def test_the_catalog_entry_is_what_the_catalog_reads():
    entry = yaml.safe_load((HOME / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    assert set(entry["usage"]) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert (HOME / "workflow/Snakefile").is_file()
