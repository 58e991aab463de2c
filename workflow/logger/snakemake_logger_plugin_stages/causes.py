"""Why a job failed, in a few plain lines, out of a log that anything may have written into."""

import re
import textwrap
from collections.abc import Iterable
from itertools import dropwhile, takewhile
from pathlib import Path

CONSOLE = "logs/console.log"
"""What jobs print while the terminal has only the lines of this logger."""
TAIL = 200_000
"""Bytes of a log that are read, from its end."""
LINES, WIDTH = 6, 1000
"""Of one cause; the log has all of it."""


def printable(text: str) -> str:
    """Text without what a terminal would take for a command."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()


def reported(text: str, rule: str) -> list[str]:
    """The message that a job of a rule logged last as ERROR (countclip/runtime/job.py)."""
    *_, message = re.split(rf"^\d\d:\d\d:\d\d {rule} ERROR ", text, flags=re.MULTILINE)
    return short(message.splitlines()) if message != text else []


def exception(text: str, script: str = "") -> list[str]:
    """The message of the last exception in a text, without its traceback, or nothing.

    script: only tracebacks that name it count.
    """
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    _, *blocks = "\n".join(lines).split("Traceback (most recent call last):\n")
    found = [block for block in blocks if script in block]
    if not found:
        return []
    after = dropwhile(lambda line: line.startswith(" "), found[-1].splitlines())
    message = takewhile(lambda line: not re.match(r"\d\d:\d\d:\d\d ", line), after)
    return short(message)


def short(lines: Iterable[str]) -> list[str]:
    """Lines without frames of a traceback, as few and as long as a terminal bears."""
    lines = [printable(line) for line in lines if not re.match(r'\s+File "', line)]
    shown = [textwrap.shorten(line, WIDTH, placeholder=" ...")
             if len(line) > WIDTH and " " in line else line[:WIDTH] for line in lines]  # fmt: skip
    return shown[:LINES] + ["..."] * (len(shown) > LINES)


def tail(path: str, offset: int = 0) -> str:
    """The end of a log, from `offset` bytes on at most."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(offset, size - TAIL))
        return file.read().decode("utf-8", "replace")


def explanation(
    logs: list[str], rule: str, since: float, offset: int, error: str
) -> tuple[str, list[str]]:
    """The log that tells why a job of a rule failed, and its last words.

    since: when the job started; an older log is an earlier job's. offset: where CONSOLE ended then.
    error: Snakemake's words about the process.
    """
    logs = [log for log in logs if Path(log).is_file() and Path(log).stat().st_mtime >= since - 1]
    for log in logs:
        if lines := reported(tail(log), rule) or exception(tail(log)):
            return log, lines
    if Path(CONSOLE).is_file() and (lines := exception(tail(CONSOLE, offset), f".{rule}.py")):
        return CONSOLE, lines
    log = (logs or [CONSOLE])[0]
    how = re.search(r"died with <Signals\.(\w+)|exit status (\d+)", error)
    if how and how[1]:
        return log, [f"It was ended from outside ({how[1]}), perhaps for want of memory."]
    if how and int(how[2]) > 128:
        return log, [
            f"It was ended from outside (signal {int(how[2]) - 128}), perhaps for want of memory."
        ]
    return log, ["It ended without an error message."]
