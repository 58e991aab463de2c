"""A Python that has imported torch and its like: each script runs in a fork of it, at once.

`python script.py` of a job spends most of its seconds on imports. `WarmPython` starts a server, and
writes a command that takes the place of `python`. The command hands its arguments, folder,
environment and open files to the server, which forks what `python script.py` would be. Signals to
the command go on to that process, which dies if the command does; both end with one exit code.

Nothing of the checkout under test is imported ahead. A submodule that a script uses and does not
import fails in a plain Python alone: test_imports.py looks for those, and tests/slurm starts one.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

AHEAD = (
    "torch", "torchvision.transforms.v2", "open_clip", "lightning_fabric", "pandas",
    "pyarrow.dataset", "pyarrow.parquet", "matplotlib.pyplot", "scipy.stats", "sklearn.metrics",
    "requests", "httpx", "jinja2", "snakemake.script", "snakemake.logging",
)  # fmt: skip
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class WarmPython:
    """The server while a `with` lasts, whose value is the path of the command.

    ahead: modules that the server imports, once somebody asks.
    """

    def __init__(self, ahead: Sequence[str] = AHEAD) -> None:
        self._ahead = ahead

    def __enter__(self) -> str:
        import shlex
        import subprocess
        import tempfile

        self._folder = tempfile.TemporaryDirectory()  # a socket's path may have 100 letters
        command_file, address = Path(self._folder.name, "python"), f"{self._folder.name}/socket"
        command = shlex.join([sys.executable, "-IS", __file__, sys.executable, address])
        command_file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        command_file.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(16)  # who comes while the server imports waits
            number = listener.fileno()
            server = [sys.executable, __file__, str(number), *self._ahead]
            self._server = subprocess.Popen(  # Ctrl-C is for the commands, which send it on
                server, stdin=subprocess.PIPE, pass_fds=[number], start_new_session=True
            )
        return str(command_file)

    def __exit__(self, *_) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._folder.cleanup()


def ask(python: str, address: str, arguments: list[str]) -> int:
    """Exit code of `python arguments`, of a script by way of the server."""
    if not (arguments and arguments[0].endswith(".py")):
        os.execv(python, [python, *arguments])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"\0"], [0, 1, 2])
        request = json.dumps([arguments, os.getcwd(), dict(os.environ)])
        connection.sendall(f"{request}\n".encode())
        answers = connection.makefile("rb")
        process = int(answers.readline())

        def send_on(number: int, _: object) -> None:
            with suppress(ProcessLookupError):
                os.kill(process, number)

        for number in SIGNALS:
            signal.signal(number, send_on)
        code = int(answers.readline())
    return code if code >= 0 else 128 - code  # as a shell has it


def serve(listener: socket.socket, ahead: list[str]) -> None:
    """Run a script in a fork for each who asks, until stdin ends."""
    import gc
    import importlib
    import select

    del sys.path[0]  # the folder of the tests
    ready = select.select([listener, sys.stdin], [], [])[0]
    for module in ahead if listener in ready else ():
        importlib.import_module(module)
    gc.freeze()  # or each fork would look through all that is imported
    running: dict[int, socket.socket] = {}
    while running or sys.stdin not in ready:
        sources = (listener, sys.stdin, *running.values())
        ready = select.select(sources, [], [], 0.02 if running else None)[0]
        for process, connection in list(running.items()):
            if sys.stdin in ready or connection in ready:  # the test is over, or the command gone
                os.kill(process, signal.SIGKILL)
            if (ended := os.waitpid(process, os.WNOHANG))[0]:
                with suppress(BrokenPipeError):
                    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
                running.pop(process).close()
        if listener in ready:
            connection = listener.accept()[0]
            files = socket.recv_fds(connection, 1, 3)[1]
            request = connection.makefile("rb").readline()
            if not (process := os.fork()):
                connection.close()
                run(files, *json.loads(request))
            running[process] = connection
            for file in files:
                os.close(file)
            with suppress(BrokenPipeError):
                connection.sendall(b"%d\n" % process)


def run(files: list[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Become `python script.py`; ends without the end of what is imported, which takes long."""
    import atexit
    import runpy
    import threading

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [str(Path(arguments[0]).resolve().parent), *paths]
    if torch := sys.modules.get("torch"):  # it has read the server's environment
        torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    code = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


if __name__ == "__main__":
    first, *others = sys.argv[1:]
    if first.isdigit():
        serve(socket.socket(fileno=int(first)), others)
    else:
        sys.exit(ask(first, others[0], others[1:]))
