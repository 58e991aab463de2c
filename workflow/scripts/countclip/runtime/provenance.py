"""Provenance: the config keys and the workflow's files that a result depends on.

Snakemake imports this while it parses the rules, in every job of a cluster again. So it uses only
the standard library.
"""

import ast
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from countclip.runtime.folders import contents, files_of
from countclip.runtime.resources import HOME, is_ours, is_result

SCRIPTS = HOME / "workflow" / "scripts"


def canonical(value: Any) -> str:
    """JSON with sorted keys, so that the same config always gives the same string.

    A brace in a text is escaped, since Snakemake would take it for the start of a wildcard.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return re.sub(r'"(?:[^"\\]|\\.)*"', lambda found: found[0].replace("{", "\\u007b"), text)


def sections(config: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The part of the config under some keys, such as `["fetch", "model.name"]`, still nested."""
    selected: dict[str, Any] = {}
    for key in keys:
        *parents, last = key.split(".")
        source, target = config, selected
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[last] = source[last]
    return selected


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Path -> value for every value of a nested config; a list is one value."""
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
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(file for name in set(names) for file in _files(name))


@functools.cache
def _files(name: str) -> frozenset[Path]:
    """Files of ours that `import name` runs: of each package on the way, and of the module."""
    parts = name.split(".")
    if parts[0] not in _packages():
        return frozenset()
    places = [SCRIPTS.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return frozenset(file for file in files if file.is_file() and file.stat().st_size)


@functools.cache
def _packages() -> frozenset[str]:
    return frozenset(path.stem for path in SCRIPTS.iterdir())


def _statements(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All statements, however deep. `ast.walk` visits expressions too: seven times as long."""
    for node in nodes:
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, name, ()))


@functools.cache
def code(script: str, *paths: str) -> tuple[str, ...]:
    """Name and digest of each of the workflow's files that a rule's result depends on.

    These are its script, every module that it imports, directly or indirectly, and the files that
    the config names among `paths`, as ("countclip.data.fetch 1f0c9a3e", ...). Each is a param by
    itself, so that Snakemake prints the one that changed. Only content matters, not a file's time.
    """
    return (*modules(SCRIPTS / f"{script}.py"), *digests(*paths))


def modules(path: Path) -> tuple[str, ...]:
    """Name and digest of each module that a Python file reaches, itself included."""
    names = {".".join(f.relative_to(SCRIPTS).with_suffix("").parts): f for f in modules_of(path)}
    return tuple(f"{name} {_digest(names[name])}" for name in sorted(names))


def digests(*paths: str) -> tuple[str, ...]:
    """Path and digest of each resource, and file or folder of a user, among paths of the config.

    By its time alone, Snakemake misses a file that is replaced by an older one (cp -p, unzip,
    rsync -a). Results are left out: the rules that make them count. So is what is not there.
    """
    ours = {Path(file).as_posix() for path in paths if is_ours(path) for file in files_of(path)}
    found = {file: _digest(HOME / file) for file in ours}
    for path in paths:
        if not is_ours(path) and not is_result(path) and Path(path).exists():
            found[path] = _digest_of_users(Path(path))
    return tuple(_fact(path, found[path]) for path in sorted(found))


def digest_of_all(name: str, files: Iterable[str]) -> tuple[str, ...]:
    """One digest of many files of a user, such as images that a table lists; none of no files."""
    listed = sorted(files)
    return (_fact(name, _combined((file, Path(file)) for file in listed)),) if listed else ()


def _fact(name: str, digest: str) -> str:
    # Snakemake would take a brace for the start of a wildcard.
    return f"{name} {digest}".replace("{", "\\u007b")


@functools.cache
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]


@functools.cache
def _digest_of_users(path: Path) -> str:
    if not path.is_dir():
        return sampled_digest(path, whole=32 << 20)[:8]
    files = [file for file in contents(path).files if file.is_file()]
    return _combined((file.relative_to(path).as_posix(), file) for file in files)


def _combined(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, file in files:
        digest.update(f"{name}\0{sampled_digest(file, whole=64 << 10)}\n".encode(errors="replace"))
    return digest.hexdigest()[:8]


def sampled_digest(file: Path, *, whole: int) -> str:
    """Digest of size and content: of all of it up to `whole` bytes, else of 16 blocks of 4 KiB.

    The blocks are spread from the first byte to the last. Large files are weights, Parquet and
    images, and other such files differ almost everywhere. An edit in place has a newer time, which
    Snakemake sees.
    """
    size, block, blocks = file.stat().st_size, 4096, 16
    digest = hashlib.sha256(str(size).encode())
    with open(file, "rb", buffering=0) as opened:
        if size <= whole:
            return hashlib.file_digest(opened, lambda: digest).hexdigest()
        for number in range(blocks):
            digest.update(os.pread(opened.fileno(), block, (size - block) * number // (blocks - 1)))
    return digest.hexdigest()
