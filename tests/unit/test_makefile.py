"""What make takes from where, and paths with spaces, with a Python that records its calls."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from countclip.runtime.resources import HOME

RECORDER = """#!/bin/sh
case "$1" in
  --version) echo Python 3.11.9; exit;;
esac
if [ "$2" = venv ]; then
  mkdir -p "$3/bin"
  for name in python pip uv snakemake; do cp "$0" "$3/bin/$name"; done
fi
printf '%s' "$0" >>"$CALLS"
printf '|%s' "$@" >>"$CALLS"
printf ' target=%s\\n' "$PIP_TARGET" >>"$CALLS"
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout in a folder with spaces, and a Python beside it that records how it is called."""
    folder = tmp_path / "it's  my (new) & only checkout"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(HOME / name, folder)
    (folder / "results").mkdir()
    (folder / "results/table1.md").write_text("the table\n", encoding="utf-8")
    for path in (tmp_path / "a python/python3.11", tmp_path / "foreign/python3.11"):
        path.parent.mkdir()
        path.write_text(RECORDER, encoding="utf-8")
        path.chmod(0o755)
    return folder


def make(folder: Path, *arguments: str, fails: bool = False, **environment: str) -> str:
    """Run make with the recording Python; return its calls, or what make says where it fails."""
    calls = folder.parent / "calls"
    calls.write_text("", encoding="utf-8")
    python = f"PYTHON={folder.parent / 'a python/python3.11'}"
    command = ["make", "--no-print-directory", *arguments, python]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "CALLS": str(calls), **environment},
    )  # fmt: skip
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    return done.stderr if fails else calls.read_text(encoding="utf-8")


@pytest.mark.parametrize("venv", [".venv", "my  envs/one", "/an env's/of (mine)"])
@pytest.mark.parametrize(
    ("target", "program", "arguments"),
    [
        ("demo", "snakemake", "--logger|stages|--cores|all|results/table1.csv"),
        ("run", "snakemake", "--logger|stages|--cores|all|results/table1.csv"),
        ("predict", "python", "-m|countclip.evaluation.predict"),
        ("card", "python", "-m|countclip.report.card"),
        ("test", "python", "-m|pytest"),
        ("docs", "python", "-m|countclip.settings.config_docs"),
        ("lock", "uv", "pip|compile|requirements.in"),
    ],
)
def test_every_target_runs_in_paths_with_spaces(checkout, venv, target, program, arguments):
    venv = f"{checkout.parent}{venv}" if venv.startswith("/") else venv
    if target == "lock":
        (checkout / "environment.yml").write_text("", encoding="utf-8")
    called = make(checkout, target, f"VENV={venv}")
    assert f"{checkout / venv}/bin/{program}|{arguments}" in called
    assert f"{checkout / venv}/bin/pip|install" in called
    assert (checkout / venv / "installed").is_file()
    assert "pip|install|-qq" not in make(checkout, target, f"VENV={venv}")  # it is up to date


def test_a_card_is_of_a_run_or_a_set_whose_path_may_have_spaces(checkout):
    make(checkout, "card")
    called = make(checkout, "card", "RUN=results/my run/seed1")
    assert "countclip.report.card|--run|results/my run/seed1 " in called
    called = make(checkout, "card", "SET=main", "ARGS=--images")
    assert "countclip.report.card|--set|main|--images " in called


def test_nothing_comes_from_the_shells_environment(checkout):
    foreign = str(checkout.parent / "foreign")
    called = make(
        checkout, "demo", "bench",
        VENV=foreign, CORES="99", TARGET="foreign.csv", BENCH="foreign", ARGS="--foreign",
        PIP_TARGET=foreign, PIP_PREFIX=foreign, BIN=foreign, DONE=foreign, RUN="false",
    )  # fmt: skip
    assert "foreign" not in called
    assert "--cores|all|results/table1.csv" in called
    assert "foreign" not in make(checkout, "predict", ARGS="--foreign")
    done = subprocess.run(
        ["make", "-n", "demo"], cwd=checkout, capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "PYTHON": foreign},
    )  # fmt: skip
    assert "foreign" not in done.stdout


def test_the_command_line_says_all_of_it(checkout):
    called = make(checkout, "run", "CORES=3", "TARGET=results/a.svg results/b.svg")
    assert "--cores|3|results/a.svg|results/b.svg" in called


@pytest.mark.parametrize("content", ["pyvenv.cfg", "conda-meta/history", ".hidden"])
def test_an_environment_that_make_did_not_make_is_refused(checkout, content):
    theirs = checkout.parent / "their env"
    (theirs / content).parent.mkdir(parents=True)
    (theirs / content).write_text("", encoding="utf-8")
    message = make(checkout, "demo", f"VENV={theirs}", fails=True)
    assert f"{theirs} is there, and make did not make it" in message
    assert "make demo VENV=" in message
    assert [str(file.relative_to(theirs)) for file in theirs.rglob("*") if file.is_file()] == [
        content
    ]


def test_an_empty_folder_and_a_cut_short_installation_are_makes(checkout):
    venv = checkout.parent / "empty"
    venv.mkdir()
    make(checkout, "demo", f"VENV={venv}")
    (venv / "installed").unlink()  # as if it had been killed
    assert f"{venv}/bin/pip|install" in make(checkout, "demo", f"VENV={venv}")
    later = time.time() + 2  # clocks of files are coarse
    os.utime(checkout / "requirements.txt", (later, later))  # a pull
    assert f"{venv}/bin/pip|install" in make(checkout, "demo", f"VENV={venv}")
