"""Published sets as people have them on disk: questions, Parquet files, images by their sha256."""

import re
from pathlib import Path
from typing import Any

from countclip.runtime.files import progress, sha256
from countclip.runtime.folders import contents
from countclip.runtime.machine import raise_machine_error

# A verb within the noun means that the question restricts what it counts: "... does the bus have".
_VERB = r"(?:are|is|was|were|do|does|did|can|could|has|have|had)\b"
_QUESTION = re.compile(
    rf"how many (?!of\b)(?P<noun>(?!{_VERB})[^ ?]+(?: (?!{_VERB})[^ ?]+)*?)"
    r"(?: (?:are|is)(?: there| shown| seen| visible| pictured)?| can be seen| (?:can|do) you see)?"
    r"(?: in (?:the|this) (?:image|picture|photo|photograph|scene))? ?[?.]*",
    re.IGNORECASE,
)


def counted_noun(question: str) -> str:
    """The noun that a simple question counts, or '' for any other question.

    "How many red cars are there in the picture?" -> "red cars"; "How many wheels does the car
    have?" -> ''.
    """
    match = _QUESTION.fullmatch(" ".join(question.split()))
    return match["noun"].rstrip(".") if match else ""


def files_by_sha256(folder: Path) -> dict[str, Path]:
    """The files of a folder, and of folders in it, by their sha256."""
    listed = contents(folder)
    listed.log_passed(folder)
    files = [file for file in listed.files if file.is_file()]
    return {sha256(file): file for file in progress(files, unit="file", desc="images")}


def read_parquet(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    """The rows of some columns; ValueError for a file without them."""
    import pyarrow as pa  # the rules read ADAPTERS, and parse without it
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise_machine_error(error)
        raise ValueError(f"{path}: must be Parquet with {', '.join(columns)}: {error}") from error
