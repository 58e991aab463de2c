"""Metadata of LAION: a manifest of its parts at a pinned revision, and verified downloads.

Any other data set that the hub has as Parquet files comes the same way (`DataSet`).

The manifest is a small table. It comes from the hub, from hashing local files, or from a person.
Every part must have the size and sha256 that the manifest states.
"""

import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

import httpx2  # the HTTP client of huggingface_hub
import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from countclip.runtime import network
from countclip.runtime.csv_files import Columns, read_rows
from countclip.runtime.files import progress, publish, sha256, write_text
from countclip.runtime.machine import OF_CONNECTIONS, raise_machine_error
from countclip.runtime.network import DownloadError
from countclip.runtime.resources import name_of

log = logging.getLogger(__name__)

RETRIES = 2  # of the question for the list
COLUMNS = ("part", "url", "bytes", "sha256")
REPOSITORIES = {
    "relaion400m": "laion/relaion400m",
    "datacomp_small": "mlfoundations/datacomp_small",
    "laion400m": None,
}
# Spark appends a job's UUID and a counter to the name of every file.
_SPARK = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-c\d+)?$")


class DataSet(NamedTuple):
    """What messages call a data set, and the section of the config that names it."""

    title: str
    section: str


LAION = DataSet("LAION", "laion")


class Part(NamedTuple):
    """One file of the metadata, as the manifest describes it."""

    url: str
    bytes: int
    sha256: str


def read_manifest(path: str | Path) -> dict[str, Part]:
    """Read a manifest, name of a part -> Part: tab-separated part, url, bytes, sha256."""
    parts: dict[str, Part] = {}

    def add(row: dict[str, str], _: int) -> None:
        if not row["part"] or name_of(row["part"]) != row["part"]:
            raise ValueError(
                f"{row['part']!r} is no name for a part; write it with A-Z, a-z, 0-9, dots, _ and -"
                " alone"
            )
        if row["part"] in parts:
            raise ValueError(f"{row['part']} is listed twice: keep one of the lines")
        if not re.fullmatch(r"[1-9]\d*", row["bytes"], re.ASCII):
            raise ValueError(f"bytes is {row['bytes']!r}, not a positive number")
        if not re.fullmatch(r"[0-9a-f]{64}", row["sha256"]):
            raise ValueError("sha256 is not 64 hex digits in lower case")
        parts[row["part"]] = Part(row["url"], int(row["bytes"]), row["sha256"])

    read_rows(path, Columns(COLUMNS, only=True, separator="\t"), add)
    return parts


def make_manifest(
    path: str | Path,
    *,
    source: str,
    repository: str | None,
    revision: str,
    endpoint: str,
    folder: str | None,
    files: list[str],
    environment: dict[str, str],
    data_set: DataSet = LAION,
) -> None:
    """Write the manifest of all parts of a data set.

    source: relaion400m, laion400m or datacomp_small, on the hub at `endpoint`; or local: `files`
        of `folder`. Any other is that of a `data_set` with a `repository`.
    repository: on the hub, instead of the source's default. revision: a branch, tag or commit; its
        present commit goes into the addresses.
    environment: as `connection` yields it (connection.py).
    Raises PermissionError, with instructions, if the hub demands a token or accepted terms;
    FileNotFoundError if it has no such data set; ConnectionError if it cannot be reached.
    """
    if source == "local":
        if not files:
            section = data_set.section
            raise ValueError(
                f"{section}.folder: {folder} has no .parquet file named as {section}.parts"
            )
        parts = _local_parts(files, data_set)
    else:
        repository = repository or REPOSITORIES[source]
        if repository is None:
            raise ValueError(
                "laion.source: the place where LAION-400M was published (the-eye.eu) answers 404 "
                "today. Take relaion400m, the same metadata less the rows that were withdrawn; or "
                "name a copy of the old one: on the hub (laion.repository), in a folder "
                "(laion.source: local), or anywhere, with sizes and sha256 (laion.manifest)"
            )
        parts = _hub_parts(repository, revision, endpoint.rstrip("/"), environment, data_set)
    lines = [COLUMNS, *([name, *map(str, part)] for name, part in sorted(parts.items()))]
    write_text("".join("\t".join(line) + "\n" for line in lines), path)
    log.info("%s: %d parts: %s", path, len(parts), _list(parts))


def part_names(paths: list[str], data_set: DataSet = LAION) -> list[str]:
    """Short names for files, without suffixes and Spark's additions.

    `part-00000-5b54c5d5-(...)-c000.snappy.parquet` becomes `part-00000`. Names that would be equal
    are preceded by their folders: `train.part-00000`.
    """
    short = []
    for path in paths:
        name = PurePosixPath(path).name.removesuffix(".parquet")
        short.append(_SPARK.sub("", re.sub(r"\.(snappy|zstd|gz|gzip|lz4|brotli)$", "", name)))
    count = Counter(short)
    names = [
        name if count[name] == 1 else ".".join([*PurePosixPath(path).parent.parts, name])
        for path, name in zip(paths, short, strict=True)
    ]
    names = [name_of(name) for name in names]
    if len(set(names)) < len(names):
        twice = [name for name, n in Counter(names).items() if n > 1]
        raise ValueError(
            f"several files would be named {_list(twice)}; write a {data_set.section}.manifest"
        )
    return names


def _local_parts(files: list[str], data_set: DataSet) -> dict[str, Part]:
    parts = {}
    names = part_names(files, data_set)
    for name, file in zip(names, progress(files, unit="file", desc="sha256"), strict=True):
        path = Path(file).resolve()
        parts[name] = Part(path.as_uri(), path.stat().st_size, sha256(path))
    return parts


def _hub_parts(
    repository: str,
    revision: str,
    endpoint: str,
    environment: dict[str, str],
    data_set: DataSet,
) -> dict[str, Part]:
    title, section = data_set
    page = f"{endpoint}/datasets/{repository}"
    hub = huggingface_hub.HfApi(endpoint=endpoint, token=hub_token() or False)

    def ask() -> huggingface_hub.DatasetInfo:
        try:
            return hub.dataset_info(repository, revision=revision, files_metadata=True, timeout=60)
        except HfHubHTTPError as error:
            raise DownloadError(page, f"http_{error.response.status_code}") from error
        except httpx2.TimeoutException as error:
            raise DownloadError(page, "timeout", str(error)) from error
        except httpx2.TransportError as error:
            raise_machine_error(error, OF_CONNECTIONS)
            raise DownloadError(page, "unreachable", str(error)) from error

    otherwise = f"name the manifest of an earlier run as {section}.manifest"
    try:
        with hub_proxies(environment):
            info = network.retrying(RETRIES)(ask)
    except OfflineModeIsEnabled as error:
        raise ConnectionError(
            f"HF_HUB_OFFLINE is set in the environment, so the list of {title}'s parts cannot come"
            f" from {page}: unset it, or {otherwise}"
        ) from error
    except DownloadError as error:
        if error.reason in ("http_401", "http_403"):
            raise PermissionError(login_advice(int(error.reason[-3:]), page)) from error
        if error.reason == "http_404":
            raise FileNotFoundError(
                f"{page} has no revision {revision!r}, or is not there (404): correct"
                f" {section}.repository and {section}.revision"
            ) from error
        raise ConnectionError(
            f"{endpoint} cannot be reached ({error.detail or error.reason}): {network.OFFLINE}, or"
            f" that host is; restore the network and run again, or {otherwise}"
        ) from error
    if info.gated and not hub_token():
        log.warning("the files of this data set need permission. %s", login_advice(401, page))
    files = [file for file in info.siblings if file.rfilename.endswith(".parquet")]
    if not files:
        raise ValueError(f"{page} has no .parquet file at {info.sha}")
    if plain := [file.rfilename for file in files if file.lfs is None]:
        raise ValueError(f"{page}: the hub states no sha256 for {_list(plain)}")
    return {
        name: Part(
            f"{page}/resolve/{info.sha}/{quote(file.rfilename)}", file.lfs.size, file.lfs.sha256
        )
        for name, file in zip(
            part_names([file.rfilename for file in files], data_set), files, strict=True
        )
    }


@contextmanager
def hub_proxies(environment: dict[str, str]) -> Iterator[None]:
    """Set the proxies of huggingface_hub, which reads them only from the process's environment."""
    before = {name: os.environ.get(name) for name in environment}
    huggingface_hub.close_session()
    os.environ.update(environment)
    try:
        yield
    finally:
        huggingface_hub.close_session()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def download_part(
    part: str,
    path: str | Path,
    *,
    manifest: str | Path,
    source: str,
    endpoint: str,
    state: str | Path,
    environment: dict[str, str],
    data_set: DataSet = LAION,
) -> None:
    """Publish one part at `path`, exactly the file that the manifest describes.

    A local file is verified, and `path` links to it. Other files are downloaded once.
    state: folder for downloads, by sha256. A killed download continues there, and a complete file
        is verified and not downloaded again.
    endpoint: the hub; only it gets the token in HF_TOKEN, if one is set.
    environment: as `connection` yields it (connection.py).
    """
    parts = read_manifest(manifest)
    if part not in parts:
        raise ValueError(
            f"{manifest} lists no part {part!r}; {data_set.section}.parts can be any of"
            f" {_list(parts)}"
        )
    entry = parts[part]
    if source == "local" and urlsplit(entry.url).scheme == "file":
        local_file = Path(unquote(urlsplit(entry.url).path))
        if not _is_verified(local_file, entry):
            raise ValueError(
                f"{local_file} is not (or no longer) the file that {manifest} describes: "
                f"delete {manifest} to describe it anew, if that is right"
            )
        with publish(path) as temporary:
            temporary.symlink_to(local_file)
        return
    download = Path(state) / f"{entry.sha256}.parquet"
    if _is_verified(download, entry):
        log.info("%s: has been downloaded already, to %s", part, download)
    else:
        _download(entry, download, manifest, endpoint, environment, data_set)
    with publish(path) as temporary:
        try:
            os.link(download, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(download, temporary)
    os.utime(path)  # of both names: an output must not be older than the manifest


def _download(
    entry: Part,
    path: Path,
    manifest: str | Path,
    endpoint: str,
    environment: dict[str, str],
    data_set: DataSet,
) -> None:
    token = hub_token() if _origin(entry.url) == _origin(endpoint) else None
    try:
        with network.explained(f"a part of {data_set.title}", f"correct its line in {manifest}"):
            network.download(
                entry.url,
                path,
                session=network.session(environment),
                size=entry.bytes,
                sha256=entry.sha256,
                partial=path.with_suffix(".partial"),
                headers={"Authorization": f"Bearer {token}"} if token else None,
            )
    except DownloadError as error:
        page, at_hub, _ = entry.url.partition("/resolve/")
        if at_hub and error.reason in ("http_401", "http_403"):
            raise PermissionError(login_advice(int(error.reason[-3:]), page)) from error
        if error.reason == "http_404":
            raise FileNotFoundError(
                f"{entry.url} is gone (404), but {manifest} names it: delete that file, or set "
                f"{data_set.section}.manifest to null, and the parts are listed anew"
            ) from error
        raise


def _is_verified(path: Path, entry: Part) -> bool:
    return path.is_file() and path.stat().st_size == entry.bytes and sha256(path) == entry.sha256


def hub_token() -> str | None:
    """The hub's token, from the environment, so that no file of a run holds it."""
    return os.environ.get("HF_TOKEN", "").strip() or None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def login_advice(status: int, page: str) -> str:
    """Instructions for a user after status 401 or 403 of the hub."""
    settings = f"{urlsplit(page).scheme}://{urlsplit(page).netloc}/settings/tokens"
    if status == 403:
        return (
            f"{page} says 403: the account of your HF_TOKEN may not read it. Accept the terms on "
            f"that page while signed in; if you have, the token may be too narrow: it needs to "
            f"read gated repositories ({settings})"
        )
    if hub_token():
        return f"{page} says 401: your HF_TOKEN is not valid (any more). Make one at {settings}"
    return (
        f"{page} demands a login: sign in, accept the terms on that page, make a token "
        f"that may read at {settings}, and `export HF_TOKEN=...` before you start Snakemake"
    )


def _list(names) -> str:
    """Names for a message, at most the first 40."""
    names = list(names)
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    return ", ".join(names[:40]) + more
