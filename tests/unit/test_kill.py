"""The killer itself: what survives it went on where it was killed, and what does not, fails."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kill import killed_often


def count(file: Path) -> None:
    print("ready", flush=True)
    for _ in range(len(file.read_text()) if file.exists() else 0, 40):
        time.sleep(0.02)
        with open(file, "a") as out:
            out.write(".")


def fail() -> None:
    print("ready", flush=True)
    raise ZeroDivisionError


def do_nothing() -> None:
    print("ready", flush=True)


def test_work_that_resumes_gets_through(tmp_path: Path) -> None:
    killed_often(count, tmp_path / "out", times=6, longest=0.15)
    assert (tmp_path / "out").read_text() == "." * 40


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (fail, "(?s)exit code 1 after 0 kills.*ZeroDivisionError"),
        (do_nothing, "through after 0 kills"),
    ],
)
def test_a_failure_and_too_little_work_are_told(work: Callable, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        killed_often(work, times=3, longest=60)
