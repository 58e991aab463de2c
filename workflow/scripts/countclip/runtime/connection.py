"""The network of a job: the internet, or the miniature's server on the loopback interface.

The script of a job that downloads opens the connection and passes its environment on.
"""

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import getproxies

log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).resolve().parents[2]
SERVER = "miniature.server"
"""Started and not imported, so that a change of the miniature reruns no job on the internet."""
LONGEST = 2000  # characters of the server's error output in a message


@contextmanager
def connection(kind: str, world: str | Path | None = None) -> Iterator[dict[str, str]]:
    """Yield the environment variables that connect a session or a subprocess to the network.

    kind: `internet` (as configured on the machine), or `miniature`: a process serves the table
        `world` on the loopback interface while the block runs. Each has a port for itself, so that
        jobs may run in parallel, and ends with this process, even if that is killed.
    RuntimeError if the server does not start. ValueError if the machine names a proxy that cannot
    be used.
    """
    if kind == "internet":
        check_proxies(getproxies())
        yield {}
    elif kind == "miniature":
        if world is None:
            raise ValueError("connection('miniature') needs the path of world.parquet")
        with _server(world) as port:
            proxy = f"http://127.0.0.1:{port}"
            yield {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": ""}
    else:
        raise ValueError(f"connection: {kind!r} is neither 'internet' nor 'miniature'")


def check_proxies(proxies: Mapping[str, str]) -> None:
    """Raise ValueError for a proxy that cannot be used; its password is not shown.

    proxies: scheme -> proxy, as of `urllib.request.getproxies`. `all` counts for a scheme that has
        none for itself.
    """
    for scheme in ("http", "https"):
        key = scheme if scheme in proxies else "all"
        if problem := _proxy_problem(proxies.get(key, "")):
            variable = next((n for n in os.environ if n.lower() == f"{key}_proxy"), f"{key}_proxy")
            shown = re.sub(r"^([^@]*://)?.*@", r"\1...@", proxies[key])[:200]
            raise ValueError(
                f"{variable} of this machine's environment is {shown!r}: {problem}; set it to"
                " http://HOST:PORT, or unset it if no proxy is needed, and run again"
            )


def _proxy_problem(proxy: str) -> str:
    """Why a proxy cannot be used, or ''."""
    kind = proxy.partition("://")[0].lower() if "://" in proxy else "http"
    if kind not in ("http", "https"):
        return f"a proxy of the kind {kind!r} is not supported"
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        whole = "://" in proxy or parts.path in ("", "/")  # not http:/host
        valid = whole and parts.port != 0 and re.fullmatch(r"[\w.:%-]+", parts.hostname or "")
    except ValueError:
        valid = False
    return "" if valid or not proxy else "this is no address of a proxy"


@contextmanager
def _server(world: str | Path) -> Iterator[int]:
    """Yield the port of a server process, which ends with its stdin: with this process."""
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
                    f" delete it and run again\n{_exit_report(process, errors)}"
                )
            yield int(port)
        finally:
            if port and process.poll() is not None:
                report = _exit_report(process, errors)
                log.error("%s: the miniature's server ended early\n%s", world, report)
            process.kill()


def _exit_report(process: subprocess.Popen, errors: IO[str]) -> str:
    """The exit code of a process and the end of its error output."""
    code = process.wait()
    errors.seek(0)
    return f"exit code {code}: {errors.read()[-LONGEST:]}"
