"""The killer itself: what survives it went on where it was killed, and what does not, fails."""

import sys
from pathlib import Path

import pytest

from kill import killed_often

COUNT = """
import pathlib, sys, time
print("ready", flush=True)
file = pathlib.Path(sys.argv[1])
for done in range(len(file.read_text()) if file.exists() else 0, 40):
    time.sleep(0.02)
    with open(file, "a") as out:
        out.write(".")
"""


def test_work_that_resumes_gets_through(tmp_path: Path) -> None:
    killed_often([sys.executable, "-c", COUNT, str(tmp_path / "out")], times=6, longest=0.15)
    assert (tmp_path / "out").read_text() == "." * 40


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('ready'); 1 / 0", "exit code 1 after 0 kills"),
        ("print('ready')", "through after 0 kills"),
    ],
)
def test_a_failure_and_too_little_work_are_told(code: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        killed_often([sys.executable, "-c", code], times=3, seed=1, longest=0.5)
