"""Start of every job: logging to its file and the console, and its spec."""

import json
import logging
import os
import sys
from typing import Any


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
    """Set up logging for one job; return its spec (workflow/rules/common.smk)."""
    # A letter that the terminal does not know must not end a job.
    sys.stdout.reconfigure(errors="backslashreplace")
    # In training on several devices, only the first process writes the log.
    if snakemake.log and os.environ.get("LOCAL_RANK", "0") == "0":
        file = open(  # noqa: SIM115 lives as long as the job
            snakemake.log[0], "w", encoding="utf-8", errors="backslashreplace", buffering=1
        )
        sys.stderr = _Tee(sys.stderr, file)
        sys.stdout = _Tee(sys.stdout, file)
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s {snakemake.rule} %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    logging.captureWarnings(True)
    return json.loads(snakemake.params.spec)
