"""Machines as they are: spaces in paths, a user without name or home, an image without `which`."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from countclip.runtime.resources import HOME

from .conftest import Workflow, checkout
from .dry_runs import jobs

TARGET = "results/paper.md"


def test_an_environment_and_a_checkout_may_lie_in_paths_with_spaces(tmp_path):
    """Snakemake puts the path of its Python into shell commands."""
    environment = tmp_path / "my own (old)/it's an env"
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "those.pth").write_text("\n".join(sys.path[1:]), encoding="utf-8")
    home = checkout(tmp_path / "the only & true checkout")
    run = Workflow(home / "runs/a run", home)
    command = [environment / "bin/python", "-m", "snakemake", TARGET, "-c1", *run.where({})]
    subprocess.run(command, check=True, timeout=300)
    assert (run.folder / TARGET).is_file()


NAMELESS = 54321


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can be somebody else"
)
def test_with_make_a_user_needs_no_name_and_no_home(tmp_path):
    nobody = ["setpriv", f"--reuid={NAMELESS}", f"--regid={NAMELESS}", "--clear-groups"]
    nobody += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]  # root's packages
    folder = checkout(tmp_path / "checkout")
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(HOME / name, folder)
    snakemake = folder / ".venv/bin/snakemake"  # of the environment that runs this test
    snakemake.parent.mkdir(parents=True)
    snakemake.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m snakemake "$@"\n')
    snakemake.chmod(0o755)
    (folder / ".venv/installed").touch()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NAMELESS, NAMELESS)
    done = subprocess.run(
        [*nobody, "make", "run", f"TARGET={TARGET}", "CORES=1"],
        cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / TARGET).stat().st_uid == NAMELESS
    assert not (folder / "~").exists()


WITHOUT_SLURM = """
import pkgutil, sys
every = pkgutil.iter_modules
pkgutil.iter_modules = lambda *args, **kw: (
    module for module in every(*args, **kw) if "plugin_slurm" not in module.name
)
from snakemake.cli import main
main(sys.argv[1:])
"""


def test_which_is_needed_by_the_slurm_profile_alone(tmp_path):
    """Snakemake's plugin for SLURM calls it whenever Snakemake starts, so it is not in the lock."""
    slim = tmp_path / "bin"
    slim.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).glob("*"):
            if program.name != "which" and not (slim / program.name).exists():
                (slim / program.name).symlink_to(program)
    command = [sys.executable, "-c", WITHOUT_SLURM, "results/table1.csv", "-n", "--quiet", "rules"]
    done = subprocess.run(
        [*command, *Workflow(tmp_path / "run").where({})],
        env=os.environ | {"PATH": str(slim)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert jobs(done.stdout + done.stderr)["make_table1"] == 1
    locks = (HOME / "requirements.txt", HOME / "environment.yml")
    assert not any("plugin-slurm" in lock.read_text(encoding="utf-8") for lock in locks)
    theirs = (HOME / "profiles/slurm/requirements.txt").read_text(encoding="utf-8")
    assert "\nsnakemake-executor-plugin-slurm==" in theirs
