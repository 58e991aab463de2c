import yaml

from countclip.files import HOME


def test_conda_and_pip_install_the_same_versions():
    lock = (HOME / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lock if line and not line.startswith("#")]
    conda = yaml.safe_load((HOME / "environment.yml").read_text(encoding="utf-8"))
    assert conda["dependencies"][-1]["pip"] == pinned, "run `make lock`"
    assert len(pinned) > 100
