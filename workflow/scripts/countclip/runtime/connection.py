"""The network of a job: the machine's, or the miniature's on the loopback interface.

Only the scripts of jobs that download know which; they pass the environment on.
"""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).resolve().parents[2]
SERVER = "miniature.server"
"""Started and not imported: a change of the miniature reruns no job on the internet."""
LONGEST = 2000  # characters of an error of the server


@contextmanager
def connection(kind: str, world: str | Path | None = None) -> Iterator[dict[str, str]]:
    """Yield the environment variables that lead a session or a subprocess to the network.

    kind: `internet` (as the machine is), or `miniature`: a process serves the table `world` on the
        loopback interface while the block runs, on a port of its own, so that jobs may run side by
        side. It ends with this process, whatever ends that.
    RuntimeError if it does not start.
    """
    if kind == "internet":
        yield {}
    elif kind == "miniature":
        if world is None:
            raise ValueError("connection('miniature') needs the path of world.parquet")
        with _server(world) as port:
            proxy = f"http://127.0.0.1:{port}"
            yield {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": ""}
    else:
        raise ValueError(f"connection: {kind!r} is neither 'internet' nor 'miniature'")


@contextmanager
def _server(world: str | Path) -> Iterator[int]:
    """Yield the port of a server process. It ends when its stdin does: with this process."""
    path = os.pathsep.join(filter(None, (str(SCRIPTS), os.environ.get("PYTHONPATH"))))
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-P", "-m", SERVER, str(world)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        ) as process,
    ):
        port = ""
        try:
            port = process.stdout.readline()
            if not port:
                raise RuntimeError(
                    f"{world}: the miniature's server did not start; if the file is broken,"
                    f" delete it and run again\n{_ended(process, errors)}"
                )
            yield int(port)
        finally:
            if port and process.poll() is not None:
                log.error(
                    "%s: the miniature's server went away\n%s", world, _ended(process, errors)
                )
            process.kill()


def _ended(process: subprocess.Popen, errors: IO[str]) -> str:
    """Exit code of a process that has ended, and the end of what it wrote to `errors`."""
    code = process.wait()
    errors.seek(0)
    return f"exit code {code}: {errors.read()[-LONGEST:]}"
