import subprocess

import yaml

from countclip.runtime.resources import HOME


def test_conda_and_pip_install_the_same_versions():
    lock = (HOME / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lock if line and not line.startswith("#")]
    conda = yaml.safe_load((HOME / "environment.yml").read_text(encoding="utf-8"))
    assert conda["dependencies"][-1]["pip"] == pinned, "run `make lock`"
    assert len(pinned) > 100


def test_make_says_which_python_it_needs(tmp_path):
    """Another version, or none at all; nothing is installed with it."""
    (tmp_path / "python3.13").write_text("#!/bin/sh\necho Python 3.13.1\n", encoding="utf-8")
    (tmp_path / "python3.13").chmod(0o755)
    for python in (tmp_path / "python3.13", tmp_path / "none"):
        command = ["make", "demo", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert f"make needs Python 3.11, which all packages are locked for, and {python}" in (
            done.stderr
        )
    assert not (tmp_path / "venv").exists()
