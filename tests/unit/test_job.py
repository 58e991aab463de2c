"""A job that fails: one message on the console and last in its log, the traceback in the log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from countclip.runtime import job

JOB = """
import json, sys
from types import SimpleNamespace
from countclip.runtime.job import start
from countclip.runtime.network import DownloadError
start(SimpleNamespace(log=[sys.argv[1]], rule="count", params=SimpleNamespace(spec="{}")))
print("counting")
"""


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("raise ValueError('a.csv: line 3: no number; write one')", "a.csv: line 3: no number; w"),
        ("{}['noun']", "KeyError: 'noun'"),
        ("open('/dev/full', 'w').write('x' * 99999)", "this machine: No space left on device; fr"),
        ("raise DownloadError('http://x.example/', 'dns')", "http://x.example/: dns"),
        ("assert False", "AssertionError"),
    ],
)
def test_a_failed_job_prints_one_line(tmp_path: Path, failure: str, message: str) -> None:
    log = tmp_path / "job.log"
    done = subprocess.run(
        [sys.executable, "-c", JOB + failure, str(log)],
        env={**os.environ, "PYTHONPATH": str(Path(job.__file__).parents[2])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    printed, error = done.stderr.splitlines()  # what a job prints goes to stderr too
    assert printed == "counting"
    assert f"count ERROR {message}" in error
    lines = log.read_text().splitlines()
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == error
