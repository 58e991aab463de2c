"""kill -9, often: a stage that was killed at any moment must end as one that never was."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

PATIENCE = 300  # seconds for a start, or for the last run: only a hang takes so long


def killed_often(
    command: list[str],
    times: int = 10,
    seed: int = 0,
    longest: float = 1.0,
    env: dict[str, str] | None = None,
) -> None:
    """Start `command` again and again, kill it `times` times, then let it finish.

    command: prints a line `ready` as soon as its work begins, so that kills hit the work and not
        the imports, and goes on where it was killed.
    longest: a kill comes up to so many seconds after `ready`, drawn from `seed`. About a fifth of
        what an undisturbed run takes keeps all kills within the work.
    env: in place of this process's environment.

    AssertionError: the command fails by itself, hangs, or is through before half of the kills.
    """
    delays = random.Random(seed)
    for kill in range(times):
        code, output = _run(command, env, after=delays.uniform(0, longest))
        if code == 0:
            assert kill >= times / 2, f"through after {kill} kills: give it more work\n{output}"
            return
        assert code == -signal.SIGKILL, f"exit code {code} after {kill} kills\n{output}"
    code, output = _run(command, env)
    assert code == 0, f"exit code {code} after {times} kills\n{output}"


def _run(
    command: list[str], env: dict[str, str] | None, after: float | None = None
) -> tuple[int, str]:
    """Exit code and output of a command whose process group dies `after` seconds of work."""
    with TemporaryDirectory() as folder, open(Path(folder, "output"), "w+b") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=env, start_new_session=True
        )
        try:
            if after is not None:
                _wait_for_ready(process, Path(output.name))
                time.sleep(after)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return process.returncode, Path(output.name).read_text(errors="replace")[-4000:]


def _wait_for_ready(process: subprocess.Popen, output: Path) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and b"ready\n" not in output.read_bytes():
        assert time.monotonic() < end, f"no line `ready` after {PATIENCE} s"
        time.sleep(0.005)
