import shutil
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from countclip.runtime.resources import HOME


def test_conda_and_pip_install_the_same_versions():
    lock = (HOME / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lock if line and not line.startswith("#")]
    conda = yaml.safe_load((HOME / "environment.yml").read_text(encoding="utf-8"))
    assert conda["dependencies"][-1]["pip"] == pinned, "run `make lock`"
    assert len(pinned) > 100


@pytest.mark.parametrize("python", ["3.11.0", "3.12.11"])
def test_the_lock_has_one_version_of_each_package_for_each_python(python):
    machine = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    lines = (HOME / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    here = [one for one in pinned if not one.marker or one.marker.evaluate(machine)]
    names = [canonicalize_name(one.name) for one in here]
    assert len(names) == len(set(names))
    wanted = [
        Requirement(line.partition("#")[0])
        for line in (HOME / "requirements.in").read_text(encoding="utf-8").splitlines()
        if line.partition("#")[0].strip()
    ]
    assert {canonicalize_name(one.name) for one in wanted} <= set(names)
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = SpecifierSet(project["requires-python"])
    assert python in supported
    assert "3.10.14" not in supported
    assert "3.13.0" not in supported


def make_demo(folder, *variables, path="/usr/bin:/bin"):
    """`make demo` with an environment in `folder`, which does not get as far as a run."""
    return subprocess.run(
        ["make", "demo", f"VENV={folder / 'venv'}", *variables],
        cwd=HOME, env={"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def write_python(folder, name, version, code=0):
    """An interpreter that knows its version, and notes what else it is called with."""
    script = f'[ "$1" = --version ] && echo Python {version} || echo {name} "$@" >&2; exit {code}'
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)
    return folder / name


def test_make_says_which_python_it_needs(tmp_path):
    """Another version, or none at all; nothing is installed with it."""
    versions = ("3.13.1", "3.10.12", "3.1.2")
    others = [write_python(tmp_path, f"python{version}", version) for version in versions]
    for python in (*others, tmp_path / "none"):
        done = make_demo(tmp_path, f"PYTHON={python}")
        assert done.returncode != 0
        assert "make needs Python 3.11 or 3.12" in done.stderr
        assert f"and {python} is neither" in done.stderr
        assert "-m venv" not in done.stderr


@pytest.mark.parametrize(
    ("on_the_path", "expected"),
    [
        ({"python3.11": ("3.11.9", 0), "python3.12": ("3.12.1", 0)}, "python3.11"),
        ({"python3.12": ("3.12.11", 0), "python3": ("3.13.0", 0)}, "python3.12"),
        ({"python3.11": ("", 127), "python3.12": ("3.12.1", 0)}, "python3.12"),
        ({"python3": ("3.12.4", 0)}, "python3"),
    ],
    ids=["the older", "the only one", "a launcher of nothing", "the default"],
)
def test_make_takes_the_first_python_that_it_can_use(tmp_path, on_the_path, expected):
    for name in ("sh", "make", "git", "touch", "ls", "mkdir"):
        (tmp_path / name).symlink_to(shutil.which(name))
    for name, (version, code) in on_the_path.items():
        write_python(tmp_path, name, version, code)
    done = make_demo(tmp_path, path=str(tmp_path))
    assert f"{expected} -m venv {tmp_path / 'venv'}\n" in done.stderr
