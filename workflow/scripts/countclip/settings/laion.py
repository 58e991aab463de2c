"""LAION's metadata, or a user's: its parts, their table, and a folder's files."""

import unicodedata
from pathlib import Path

from countclip.runtime.csv_files import Columns
from countclip.runtime.folders import stored
from countclip.runtime.resources import name_of, resource
from countclip.settings.common import Config, ConfigError
from countclip.settings.network import OVER_PAPER
from countclip.settings.user_files import table_lines


def parts(config: Config) -> list[str]:
    """The parts as results name them; the config may name a file as it is (`Küche 2024`)."""
    listed = config["laion"]["parts"]
    names = [name_of(part) for part in listed]
    if clash := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"laion.parts: {' and '.join(p for p in listed if name_of(p) in clash)} would both be"
            f" {clash[0]} in the paths of results; rename a file"
        )
    return names


def local_files(config: Config) -> list[str]:
    """A user's Parquet files that make_manifest hashes: those that begin with a part's name."""
    laion = config["laion"]
    if laion["source"] != "local" or laion["manifest"] is not None:
        return []
    if laion["folder"] is None:
        raise ConfigError("laion.source: local needs laion.folder, where your files are")
    files = sorted(stored(Path(laion["folder"])).glob("*.parquet"))
    found = set()
    for part in laion["parts"]:
        exact = [file for file in files if _composed(file.stem) == _composed(part)]
        name = name_of(part)
        found.update(exact or [file for file in files if name_of(file.name).startswith(name)])
    return sorted(map(str, found))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def manifest(config: Config) -> str:
    """The table of LAION's parts: a person's, the miniature's, or what make_manifest lists."""
    path, source = config["laion"]["manifest"], config["laion"]["source"]
    # A user's files may be copies of the miniature's parts.
    if config["network"] == "miniature" and source not in ("miniature", "local"):
        raise ConfigError(
            f"laion.source: {source} is on the internet, and network is miniature; set network: "
            f"internet and a countbench.list of yours, {OVER_PAPER}"
        )
    if path is not None:
        return resource(path)
    if source != "miniature":
        return "results/laion/manifest.tsv"
    if config["network"] != "miniature":
        raise ConfigError(
            "laion.source: the miniature's parts are on the miniature's network alone; name "
            f"another source, set network: miniature, {OVER_PAPER}"
        )
    return "results/miniature/laion.tsv"


def manifest_line(config: Config, part: str) -> str:
    """The line of one part in a person's manifest, so that adding another part reruns nothing.

    Empty for a manifest that a rule makes, which counts as a whole.
    """
    path = config["laion"]["manifest"]
    if path is None:
        return ""
    lines = table_lines(resource(path), Columns(("part",), separator="\t"))
    return next(("\t".join(line.values()) for line in lines if line["part"] == part), "")
