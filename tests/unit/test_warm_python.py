"""A script in a fork of a warm process runs and ends as in a plain Python."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from warm_python import WarmPython

SELF = """
import os, sys
print(sys.argv, sys.path[0], os.getcwd(), os.environ.get("COLOUR"), __name__, __file__)
print(sys.stdin.read(), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[str]:
    with WarmPython(["csv"]) as python:
        yield python


def outcome(python: str, script: Path, *arguments: str, **how) -> tuple[int, str, str]:
    done = subprocess.run(
        [python, script, *arguments], capture_output=True, text=True, check=False, **how
    )
    return done.returncode, done.stdout, done.stderr.splitlines()[-1:]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (SELF, ["--a b", "ü"]),
        ("import sys; sys.exit(3)", []),
        ("import sys; sys.exit()", []),
        ("import sys; sys.exit('no such row')", []),
        ("print('before'); 1 / 0", []),
        ("import sys; sys.excepthook = lambda *error: print(error[1]); 1 / 0", []),
        ("import atexit; atexit.register(print, 'at last'); print('first')", []),
        ("from threading import Timer; Timer(0.2, print, ['later']).start(); print('now')", []),
    ],
)
def test_a_script_does_and_ends_as_in_a_plain_python(warm, tmp_path, text, arguments):
    script = tmp_path / "a script.py"
    script.write_text(text, encoding="utf-8")
    how = {"cwd": tmp_path, "env": os.environ | {"COLOUR": "green"}, "input": "line\n"}
    outcomes = [outcome(python, script, *arguments, **how) for python in (warm, sys.executable)]
    assert outcomes[0] == outcomes[1]


def test_its_imports_are_there_and_no_script_sees_anothers(warm, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys; print('csv' in sys.modules, 'wave' in sys.modules); import wave")
    assert [outcome(warm, script)[1] for _ in range(2)] == ["True False\n"] * 2


def test_what_is_no_script_runs_in_a_plain_python(warm):
    done = subprocess.run([warm, "-c", "import sys; print('csv' in sys.modules)"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "False\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_script_with_its_command(warm, tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    with subprocess.Popen([warm, script], stdout=subprocess.PIPE, text=True) as command:
        process = psutil.Process(int(command.stdout.readline()))
        command.send_signal(number)
        assert command.wait(30) != 0
    for _ in range(300):
        if not process.is_running():
            return
        time.sleep(0.1)
    pytest.fail("the script goes on")


def test_a_script_may_catch_a_signal(warm, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([warm, script], stdout=subprocess.PIPE, text=True) as command:
        command.stdout.readline()
        command.terminate()
        assert command.wait(30) == 7
