"""Where do the LAION parts come from? From the manifest of a pinned revision, verified."""

import csv
import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from countclip import network

COLUMNS = ["part", "url", "bytes", "sha256"]


class Part(NamedTuple):
    """One file of the metadata, as the manifest promises it."""

    url: str
    bytes: int
    sha256: str


def read_manifest(path: str | Path) -> dict[str, Part]:
    """Name of a part -> Part, from a tab-separated table: part, url, bytes, sha256."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        if rows.fieldnames != COLUMNS:
            raise ValueError(
                f"{path}: columns are {rows.fieldnames}, not {COLUMNS} separated by tabs"
            )
        parts: dict[str, Part] = {}
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if not re.fullmatch(r"[\w.-]+", row["part"] or ""):
                raise ValueError(f"{where}: {row['part']!r} is no name for a part")
            if row["part"] in parts:
                raise ValueError(f"{where}: {row['part']} is listed twice")
            if not re.fullmatch(r"[1-9]\d*", row["bytes"] or ""):
                raise ValueError(f"{where}: bytes is {row['bytes']!r}, not a positive number")
            if not re.fullmatch(r"[0-9a-f]{64}", row["sha256"] or ""):
                raise ValueError(f"{where}: sha256 is not 64 hex digits in lower case")
            parts[row["part"]] = Part(row["url"], int(row["bytes"]), row["sha256"])
    return parts


def download_part(
    part: str,
    path: str | Path,
    *,
    manifest: str | Path,
    state: str | Path,
    environment: dict[str, str],
) -> None:
    """Download one part to `path`, exactly the file that the manifest describes.

    state: folder for what has arrived so far; a killed download goes on from there. A gated hub
    (huggingface.co) is asked with the token in HF_TOKEN, if that is set.
    environment: as `connection` yields it (connection.py).
    """
    parts = read_manifest(manifest)
    if part not in parts:
        raise ValueError(
            f"{manifest} lists no part {part!r}; laion.parts can be any of {', '.join(parts)}"
        )
    entry = parts[part]
    token = os.environ.get("HF_TOKEN")
    to_hub = urlsplit(entry.url).scheme == "https" and urlsplit(entry.url).hostname == (
        "huggingface.co"
    )
    network.download(
        entry.url,
        path,
        session=network.session(environment),
        size=entry.bytes,
        sha256=entry.sha256,
        partial=Path(state) / f"{part}-{entry.sha256[:16]}.partial",
        headers={"Authorization": f"Bearer {token}"} if token and to_hub else None,
    )
