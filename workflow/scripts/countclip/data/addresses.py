"""Check of the addresses in a user's files, before anything runs.

What can be known from the first rows is said at the start and not by a fetch hours later: addresses
that are paths, and addresses on another network than the config's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from countclip.runtime.files import read_json
from countclip.runtime.resources import resource
from countclip.settings import benchmarks, counting_sets, laion
from countclip.settings.common import ConfigError
from countclip.settings.network import OVER_PAPER

ROWS = 1000  # of each file
MINIATURE = ".miniature.example"
SERVED = (
    "Images are fetched over http or https alone. Counted images of yours are a counting set of"
    " `source: folder`, and metadata may name files below the folder `laion.images` in a column"
    " `file` (docs/guides/own-images.md). Otherwise serve their folder (`python"
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
        if key == "laion.folder" and _names_files(config, addresses):
            continue  # the fetch says which of them lie elsewhere
        if addresses and not web:
            raise ConfigError(
                f"{key}: the addresses in {file} are paths and the like, such as"
                f" {addresses[0][:200]!r}. {advice}"
            )
        otherwise = "" if advice == SERVED else advice
        _check_network(config, f"{key}: the addresses in {file}", web, otherwise)
    _check_downloads(config)


def _names_files(config: dict[str, Any], addresses: list[str]) -> bool:
    """Whether addresses name files, and the config says below which folder they may lie."""
    is_allowed = config["laion"]["images"] is not None
    return is_allowed and any(url.lower().startswith("file:") for url in addresses)


def _check_network(config: dict[str, Any], what: str, web: list[str], otherwise: str) -> None:
    here = [url for url in web if (MINIATURE in url) == (config["network"] == "miniature")]
    if web and not here:
        where, change = (
            ("on the internet", f"network: internet, {OVER_PAPER}")
            if config["network"] == "miniature"
            else ("in the miniature's world alone", "network: miniature")
        )
        raise ConfigError(
            f"{what}: {web[0][:200]!r} is {where}, and network is {config['network']};"
            f" set {change}" + (f". Otherwise: {otherwise}" if otherwise else "")
        )


def _check_downloads(config: dict[str, Any]) -> None:
    """Raise ConfigError for a file that a rule would download from the other network."""
    countbench, detector = config["countbench"], config["detector"]
    if countbench["list"] == "results/countbench/list.json" and countbench["list_url"]:
        otherwise = "name a list of yours as countbench.list"
        _check_network(config, "countbench.list_url", [countbench["list_url"]], otherwise)
    if detector["weights"].startswith("results/weights/") and detector["download"]:
        otherwise = "name weights of yours as detector.weights"
        _check_network(config, "detector.download", [detector["download"]["url"]], otherwise)


def _files(config: dict[str, Any]) -> Iterator[tuple[str, str, list[str], str]]:
    """Key, file, first addresses and advice, for each file of the config with addresses."""
    for file in laion.local_files(config) if counting_sets.needs_laion(config) else ():
        yield "laion.folder", file, _of_parquet(file, None), SERVED
    path = resource(config["countbench"]["list"] or "results/")
    if not path.startswith("results/") and Path(path).is_file():
        yield "countbench.list", path, _of_list(path), IN_FOLDER
    for name in benchmarks.further(config):
        settings = benchmarks.benchmark_settings(config, name)
        path = resource(settings["path"])
        by_link = settings["source"] == "pixmo_count" and settings["images"] is None
        if by_link and Path(path).is_file():
            advice = f"Name the folder of its images as benchmarks.{name}.images"
            yield f"benchmarks.{name}", path, _of_parquet(path, "image_url"), advice


def _of_parquet(path: str, column: str | None) -> list[str]:
    """The first addresses of a Parquet file; of LAION's by any name that its column may have."""
    import pyarrow as pa  # only for users' files: it is slow to import
    import pyarrow.parquet as pq

    from countclip.data.filtering import ALIASES, FILE, find_columns

    try:
        file = pq.ParquetFile(path, pre_buffer=False)
        names = file.schema_arrow.names
        listed = [name for name in names if name.lower() == FILE] if column is None else []
        rows = next(file.iter_batches(ROWS, columns=listed), None) if listed else None
        files = [] if rows is None else rows.column(0).to_pylist()
        if files and not any(name.lower() in ALIASES["url"] for name in names):
            return [f"{FILE}:{text}" for text in files if text]
        column = column or find_columns(names, path, ["url"])["url"]
        if column not in names:
            return []  # an adapter's error
        rows = next(file.iter_batches(ROWS, columns=[column]), None)
    except (pa.ArrowException, OSError):
        return []  # the rule that reads it says what is wrong
    values = [] if rows is None else rows.column(0).to_pylist()
    named = [f"{FILE}:{text}" for text in files if text]
    return named + [text for value in values if value is not None and (text := str(value).strip())]


def _of_list(path: str) -> list[str]:
    try:
        entries = read_json(path)[:ROWS]
        return [str(entry["image_url"]).strip() for entry in entries]
    except (ValueError, KeyError, TypeError, OSError):
        return []  # the link check says what is wrong
