"""Start of every job: its spec, its log, and one line on the console if it fails."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO

from countclip.runtime.machine import explain, machine_error

log = logging.getLogger(__name__)
TELLING = (ValueError, RuntimeError, ConnectionError, FileNotFoundError, PermissionError)
"""Errors that the package raises with a message; the class of others is part of what they say."""


class _Tee:
    """A stream that copies to several: libraries print progress and warnings to the log too."""

    def __init__(self, *streams: Any) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        return False


def start(snakemake: Any) -> dict[str, Any]:
    """Set up logging for one job; return its spec (workflow/rules/common.smk).

    A job that fails writes the traceback to its log alone. The error itself, one message, stands
    on the console and last in the log.
    """
    # A letter that the terminal does not know must not end a job.
    sys.stdout.reconfigure(errors="backslashreplace")
    # In training on several devices, only the first process writes the log.
    if snakemake.log and os.environ.get("LOCAL_RANK", "0") == "0":
        file = open(  # noqa: SIM115 lives as long as the job
            snakemake.log[0], "w", encoding="utf-8", errors="backslashreplace", buffering=1
        )
        # Libraries print to either; stdout is left to rules that answer on it, such as `plan`.
        sys.stdout = sys.stderr = _Tee(sys.stderr, file)
        sys.excepthook = _reporter(file)
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s {snakemake.rule} %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    logging.captureWarnings(True)
    return json.loads(snakemake.params.spec)


def message(error: BaseException) -> str:
    """What an error says to a reader of the console: what is wrong, where, and what to do."""
    if found := machine_error(error):
        return explain(found)
    text = str(error).strip()
    ours = type(error).__module__.startswith(__package__.partition(".")[0])
    if text and (ours or type(error) in TELLING):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def _reporter(file: TextIO) -> Callable[..., None]:
    """A sys.excepthook for a job whose log is `file`."""

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the disk of the log is full
            traceback.print_exception(kind, error, trace, file=file)
        log.error("%s", message(error))

    return report
