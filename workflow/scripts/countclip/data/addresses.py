"""Check of the addresses in a user's files, before anything runs.

What can be known from the first rows is said at the start and not by a fetch hours later: addresses
that are paths, and addresses on another network than the config's.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from countclip.runtime.config import (
    OVER_PAPER,
    ConfigError,
    benchmark_settings,
    further_benchmarks,
    local_files,
)
from countclip.runtime.resources import resource

ROWS = 1000  # of each file
MINIATURE = ".miniature.example"
SERVED = (
    "Images are fetched over http or https alone. For files of yours, serve their folder (`python"
    " -m http.server --bind 127.0.0.1 --directory FOLDER 8000`), write http://127.0.0.1:8000/NAME"
    " as addresses, and set network: internet and fetch.images.private_networks: [127.0.0.0/8]"
)
IN_FOLDER = "Images of yours are a benchmark of `source: folder` (docs/guides/own-benchmark.md)"


def check_addresses(config: dict[str, Any]) -> None:
    """Raise ConfigError for a file of the config none of whose first addresses can be requested.

    Files that are not there are for the rules to miss.
    """
    for key, file, addresses, advice in _files(config):
        web = [url for url in addresses if url.lower().startswith(("http://", "https://"))]
        if addresses and not web:
            raise ConfigError(
                f"{key}: the addresses in {file} are paths and the like, such as"
                f" {addresses[0][:200]!r}. {advice}"
            )
        _check_network(config, f"{key}: the addresses in {file}", web, advice)
    _check_downloads(config)


def _check_network(config: dict[str, Any], what: str, web: list[str], advice: str) -> None:
    here = [url for url in web if (MINIATURE in url) == (config["network"] == "miniature")]
    if web and not here:
        where, other = (
            ("on the internet", "internet")
            if config["network"] == "miniature"
            else ("in the miniature's world alone", "miniature")
        )
        raise ConfigError(
            f"{what}, such as {web[0][:200]!r}, are {where}, and network is {config['network']};"
            f" set network: {other}, {OVER_PAPER}. {advice}"
        )


def _check_downloads(config: dict[str, Any]) -> None:
    """Raise ConfigError for a file that a rule would download from the other network."""
    countbench, detector = config["countbench"], config["detector"]
    if countbench["list"] == "results/countbench/list.json" and countbench["list_url"]:
        advice = "Or name a list of yours as countbench.list"
        _check_network(config, "countbench.list_url: its file", [countbench["list_url"]], advice)
    if detector["weights"].startswith("results/weights/") and detector["download"]:
        advice = "Or name weights of yours as detector.weights"
        _check_network(config, "detector.download: its file", [detector["download"]["url"]], advice)


def _files(config: dict[str, Any]) -> Iterator[tuple[str, str, list[str], str]]:
    """Key, file, first addresses and advice, for each file of the config with addresses."""
    for file in local_files(config):
        yield "laion.folder", file, _of_parquet(file, None), SERVED
    path = resource(config["countbench"]["list"])
    if not path.startswith("results/") and Path(path).is_file():
        yield "countbench.list", path, _of_list(path), IN_FOLDER
    for name in further_benchmarks(config):
        settings = benchmark_settings(config, name)
        path = resource(settings["path"])
        by_link = settings["source"] == "pixmo_count" and settings["images"] is None
        if by_link and Path(path).is_file():
            advice = f"Or name the folder of its images as benchmarks.{name}.images"
            yield f"benchmarks.{name}", path, _of_parquet(path, "image_url"), advice


def _of_parquet(path: str, column: str | None) -> list[str]:
    """The first addresses of a Parquet file; of LAION's by any name that its column may have."""
    import pyarrow as pa  # only for users' files: it is slow to import
    import pyarrow.parquet as pq

    from countclip.data.filtering import find_columns

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        column = column or find_columns(names, path, ["url"])["url"]
        if column not in names:
            return []  # an adapter's error
        rows = next(file.iter_batches(ROWS, columns=[column]), None)
    except (pa.ArrowException, OSError):
        return []  # the rule that reads it says what is wrong
    values = [] if rows is None else rows.column(0).to_pylist()
    return [text for value in values if value is not None and (text := str(value).strip())]


def _of_list(path: str) -> list[str]:
    try:
        entries = json.loads(Path(path).read_bytes())[:ROWS]
        return [str(entry["image_url"]).strip() for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        return []  # the link check says what is wrong
