"""kill -9, often: a stage that was killed at any moment must end as one that never was."""

import gc
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

PATIENCE = 300  # seconds for a start, or for the last run: only a hang takes so long


class Forks:
    """Runs of a function of a module, each in a fork of one process that has imported the module.

    So a run costs no imports, which take longer than its work. The process itself is a fork of the
    warm Python (warm_python.py). No fork of this one, whose threads a child would wait for.
    prepare: is called once, before the forks; for what `work` imports as it goes.
    """

    def __init__(self, work: Callable, prepare: Callable | None = None) -> None:
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [os.environ["COUNTCLIP_WARM_PYTHON"], __file__], stdin=theirs,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        theirs.close()
        self._connection = Connection(ours.detach())
        self._connection.send((work, prepare))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        self._process.wait()

    def start(self, *arguments: Any, output: str = os.devnull) -> int:
        """Start `work` in a process, whose id this is. It prints to the file `output`."""
        self._connection.send((arguments, output))
        return self._connection.recv()

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether the run ends within so many seconds."""
        return self._connection.poll(seconds)

    def exit_code(self) -> int:
        """The exit code of a run that has ended, or will."""
        return self._connection.recv()

    def __call__(self, *arguments: Any) -> int:
        """Exit code of one run."""
        self.start(*arguments)
        return self.exit_code()


def _fork_often(connection: Connection) -> None:
    """Serve a `Forks`, whose connection is the input of this process."""
    work, prepare = connection.recv()
    if prepare:
        prepare()
    gc.freeze()  # or each fork would look through all that is imported
    while True:
        try:
            arguments, output = connection.recv()
        except EOFError:
            return
        pid = os.fork()
        if not pid:
            file = os.open(output, os.O_WRONLY | os.O_APPEND)
            os.dup2(file, 1)
            os.dup2(file, 2)
            work(*arguments)
            return
        connection.send(pid)
        connection.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def killed_often(
    work: Callable,
    *arguments: Any,
    times: int = 10,
    seed: int = 0,
    longest: float = 1.0,
    prepare: Callable | None = None,
) -> None:
    """Start a function again and again, kill it `times` times, then let it finish.

    work: a function of a module. It prints a line `ready` as soon as its work begins, and goes on
        where it was killed. Its processes die with it.
    longest: a kill comes up to so many seconds after `ready`, drawn from `seed`. About a fifth of
        what an undisturbed run takes keeps all kills within the work.
    prepare: see Forks.

    AssertionError: the work fails by itself, hangs, or is through before half of the kills.
    """
    delays = random.Random(seed)
    with Forks(_in_its_own_group, prepare) as forks:
        for kill in range(times):
            code, output = _run(forks, (work, *arguments), after=delays.uniform(0, longest))
            if code == 0:
                assert kill >= times / 2, f"through after {kill} kills: give it more work\n{output}"
                return
            assert code == -signal.SIGKILL, f"exit code {code} after {kill} kills\n{output}"
        code, output = _run(forks, (work, *arguments))
        assert code == 0, f"exit code {code} after {times} kills\n{output}"


def _in_its_own_group(work: Callable, *arguments: Any) -> None:
    os.setsid()
    work(*arguments)


def _run(forks: Forks, arguments: tuple, after: float | None = None) -> tuple[int, str]:
    """Exit code and output of a run whose process group dies `after` seconds of work."""
    with TemporaryDirectory() as folder:
        output = Path(folder, "output")
        output.touch()
        group = forks.start(*arguments, output=str(output))
        try:
            if after is not None:
                _wait_for_ready(forks, output)
                if not forks.ended(after):
                    os.killpg(group, signal.SIGKILL)
            assert forks.ended(PATIENCE), f"no end after {PATIENCE} s"
        finally:
            if not forks.ended():
                os.killpg(group, signal.SIGKILL)
        return forks.exit_code(), output.read_text(errors="replace")[-4000:]


def _wait_for_ready(forks: Forks, output: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not forks.ended() and b"ready\n" not in output.read_bytes():
        assert time.monotonic() < end, f"no line `ready` after {PATIENCE} s"
        time.sleep(0.005)


if __name__ == "__main__":
    connection = Connection(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what runs may read its input
    _fork_often(connection)
