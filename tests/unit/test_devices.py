"""GPUs are claimed one a job, by locks that a killed job leaves free. The names are made up."""

import subprocess
import sys
from pathlib import Path

import pytest

from countclip.runtime import gpus

GPUS = {"cuda:0": "card-a", "cuda:1": "card-b"}


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gpus, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(gpus, "PAUSE", 0.01)
    return tmp_path / "locks"


def test_each_job_has_a_card_of_its_own() -> None:
    with gpus.claim_gpu("auto", GPUS) as first, gpus.claim_gpu("auto", GPUS) as second:
        assert (first, second) == ("cuda:0", "cuda:1")
    with gpus.claim_gpu("auto", GPUS) as again:
        assert again == "cuda:0"


def test_a_card_under_another_name_is_the_same_card() -> None:
    """Under SLURM every job sees its own card as cuda:0."""
    with gpus.claim_gpu("cuda:0", {"cuda:0": "card-b"}), gpus.claim_gpu("auto", GPUS) as name:
        assert name == "cuda:0"
    with gpus.claim_gpu("cuda:0", {"cuda:0": "card-a"}), gpus.claim_gpu("auto", GPUS) as name:
        assert name == "cuda:1"


def test_a_busy_card_is_waited_for_until_its_job_dies(locks: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from countclip.runtime import gpus\n"
        f"gpus.LOCKS = Path({str(locks)!r})\n"
        "with gpus.claim_gpu('cuda:0', {'cuda:0': 'card-a'}): print('held', flush=True); "
        "time.sleep(600)"
    )
    path = str(Path(gpus.__file__).parents[2])
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
        patch.setattr(gpus.time, "sleep", kill_then_wait)
        with gpus.claim_gpu("cuda:0", {"cuda:0": "card-a"}) as name:
            assert name == "cuda:0"
    other.stdout.close()
    assert looks == [0.01]


SPREAD = """
import sys
from countclip.runtime import gpus

gpus.LOCKS = gpus.Path(sys.argv[1])
gpus._seen = lambda: {"cuda:0": "card-a", "cuda:1": "card-b"}
print(gpus.least_busy_gpu("auto", 1), gpus.least_busy_gpu("auto", 1), flush=True)
sys.stdin.read()
"""


def test_trainings_spread_over_the_cards_and_a_killed_one_makes_room(locks: Path) -> None:
    jobs: list[subprocess.Popen] = []

    def begin() -> str:
        jobs.append(
            subprocess.Popen(
                [sys.executable, "-c", SPREAD, locks],
                env={"PYTHONPATH": str(Path(gpus.__file__).parents[2])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )  # fmt: skip
        )
        return jobs[-1].stdout.readline().strip()

    try:
        # Each process asks twice: what it works on stays the same.
        assert [begin() for _ in range(3)] == ["[0] [0]", "[1] [1]", "[0] [0]"]
        jobs[1].kill()
        jobs[1].wait()
        assert begin() == "[1] [1]"
        with gpus.claim_gpu("auto", GPUS | {"cuda:2": "card-c"}) as free:  # a detector's
            assert free == "cuda:2"
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


@pytest.mark.parametrize(
    ("accelerator", "wanted", "seen"), [("cpu", 1, GPUS), ("cuda", 2, GPUS), ("auto", 1, {})]
)
def test_fabric_takes_what_there_is_where_there_is_no_choice(
    accelerator: str, wanted: int, seen: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "_seen", lambda: seen)
    assert gpus.least_busy_gpu.__wrapped__(accelerator, wanted) == wanted


def test_the_cpu_is_never_waited_for() -> None:
    with gpus.claim_gpu("cpu"), gpus.claim_gpu("cpu") as name:
        assert name == "cpu"
    with gpus.claim_gpu("auto", {}), gpus.claim_gpu("auto", {}) as name:
        assert name == "cpu"


def test_a_card_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="there is no cuda:7 here; there are: cuda:0, cuda:1"):
        gpus.claim_gpu("cuda:7", GPUS).__enter__()
