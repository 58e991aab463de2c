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
    # In training on several devices, only the first process writes the log.
    if snakemake.log and os.environ.get("LOCAL_RANK", "0") == "0":
        file = open(snakemake.log[0], "w", encoding="utf-8", buffering=1)  # noqa: SIM115 lives as long as the job
        # Libraries print to either; stdout is left to rules that answer on it, such as `plan`.
        sys.stdout = sys.stderr = _Tee(sys.stderr, file)
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s {snakemake.rule} %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    logging.captureWarnings(True)
    return json.loads(snakemake.params.spec)
