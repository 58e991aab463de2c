"""GPUs are claimed one a job, by locks that a killed job leaves free. The names are made up."""

import subprocess
import sys
from pathlib import Path

import pytest

from countclip import devices

GPUS = {"cuda:0": "card-a", "cuda:1": "card-b"}


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(devices, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(devices, "PAUSE", 0.01)
    return tmp_path / "locks"


def test_each_job_has_a_card_of_its_own() -> None:
    with devices.claimed("auto", GPUS) as first, devices.claimed("auto", GPUS) as second:
        assert (first, second) == ("cuda:0", "cuda:1")
    with devices.claimed("auto", GPUS) as again:
        assert again == "cuda:0"


def test_a_card_under_another_name_is_the_same_card() -> None:
    """Under SLURM every job sees its own card as cuda:0."""
    with devices.claimed("cuda:0", {"cuda:0": "card-b"}), devices.claimed("auto", GPUS) as name:
        assert name == "cuda:0"
    with devices.claimed("cuda:0", {"cuda:0": "card-a"}), devices.claimed("auto", GPUS) as name:
        assert name == "cuda:1"


def test_a_busy_card_is_waited_for_until_its_job_dies(locks: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from countclip import devices\n"
        f"devices.LOCKS = Path({str(locks)!r})\n"
        "with devices.claimed('cuda:0', {'cuda:0': 'card-a'}): print('held', flush=True); "
        "time.sleep(600)"
    )
    path = str(Path(devices.__file__).parents[1])
    other = subprocess.Popen(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    looks = []

    def kill_then_wait(seconds: float) -> None:
        looks.append(seconds)
        other.kill()
        other.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices.time, "sleep", kill_then_wait)
        with devices.claimed("cuda:0", {"cuda:0": "card-a"}) as name:
            assert name == "cuda:0"
    other.stdout.close()
    assert looks == [0.01]


def test_the_cpu_is_never_waited_for() -> None:
    with devices.claimed("cpu"), devices.claimed("cpu") as name:
        assert name == "cpu"
    with devices.claimed("auto", {}), devices.claimed("auto", {}) as name:
        assert name == "cpu"


def test_a_card_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there is no cuda:7 here; there are: cuda:0, cuda:1"):
        devices.claimed("cuda:7", GPUS).__enter__()
