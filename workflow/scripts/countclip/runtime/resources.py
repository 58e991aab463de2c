"""Paths of the config: those under `resources/` are the workflow's, wherever it runs."""

import os
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


def files_of(path: str) -> list[str]:
    """A path of the config as files: itself, or what a folder holds."""
    folder = (HOME if is_ours(path) else Path()) / path
    if not folder.is_dir():
        return [path]
    return sorted(f"{path}/{f.relative_to(folder)}" for f in folder.rglob("*") if f.is_file())
