"""Paths of the config: those under `resources/` are the workflow's, wherever it runs."""

import os
import re
import unicodedata
from pathlib import Path

HOME = Path(__file__).resolve().parents[4]
"""The workflow's folder, which may not be the one that it runs in."""


def is_ours(path: str) -> bool:
    """Whether a path of the config is one of the workflow's files."""
    return path.startswith("resources/")


def is_result(path: str) -> bool:
    """Whether a path of the config is one that a rule makes."""
    return Path(path).is_relative_to("results")


def resource(path: str) -> str:
    """A path of the config as it is seen from the working directory.

    Within the checkout it stays relative, so that a moved checkout has the same inputs.
    """
    if not is_ours(path):
        return path
    inside = Path.cwd().is_relative_to(HOME)
    return os.path.relpath(HOME / path) if inside else str(HOME / path)


def name_of(text: str) -> str:
    """A file's name as it stands in the paths of results: other signs become `_`.

    Composed first (NFC), so that it does not depend on the system that wrote it.
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", unicodedata.normalize("NFC", text))
