"""From what does a result follow? The keys of the config and the files of ours that decide it.

Snakemake reads this while it parses the rules, in every job of a cluster again, so it needs nothing
but the standard library.
"""

import ast
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[4]
"""The workflow's own folder, which may not be the one that it runs in."""
SCRIPTS = HOME / "workflow" / "scripts"


def canonical(value: Any) -> str:
    """JSON with sorted keys: the same config always gives the same string. A brace in a text is
    written as its code, since Snakemake would take what it encloses for a wildcard."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return re.sub(r'"(?:[^"\\]|\\.)*"', lambda found: found[0].replace("{", "\\u007b"), text)


def sections(config: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Of the config those keys alone, as `["fetch", "model.name"]`, nested as they are there."""
    selected: dict[str, Any] = {}
    for key in keys:
        *parents, last = key.split(".")
        source, target = config, selected
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[last] = source[last]
    return selected


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every value of a nested config under its path; a list is one value."""
    if not (isinstance(value, dict) and value):
        return {path: value}
    return {
        inner: leaf
        for key, below in value.items()
        for inner, leaf in leaves(below, (*path, key)).items()
    }


@functools.cache
def modules_of(path: Path) -> frozenset[Path]:
    """The package's files that a Python file reaches through its imports, itself included."""
    found: set[Path] = set()
    pending = [path]
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending += _imports(current)
    return frozenset(found)


@functools.cache
def _imports(path: Path) -> tuple[Path, ...]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    places = [SCRIPTS.joinpath(*name.split(".")) for name in names]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return tuple(file for file in files if file.is_file())


@functools.cache
def code(script: str, *paths: str) -> str:
    """Digest of all of ours that a rule's result follows from: its script, every module that this
    imports, however deep, and those of `paths` that are resources.

    Touching a file changes nothing; editing one reruns the rules that reach it.
    """
    files = modules_of(SCRIPTS / f"{script}.py").union(
        HOME / file for path in paths if is_ours(path) for file in files_of(path)
    )
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(HOME).as_posix().encode() + b"\0" + _content(file))
    return digest.hexdigest()[:16]


@functools.cache
def _content(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


def is_ours(path: str) -> bool:
    """Whether a path of the config is one of the workflow's own files."""
    return path.startswith("resources/")


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
    folder = HOME / path
    if not folder.is_dir():
        return [path]
    return sorted(f"{path}/{f.relative_to(folder)}" for f in folder.rglob("*") if f.is_file())
