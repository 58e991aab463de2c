"""Download of the candidates' images, with img2dataset under supervision.

img2dataset reports success when shards failed, may hang, and never retries. So it runs as a
subprocess with a watchdog (fetch_worker.py), its shards are verified, and temporary failures get a
second pass. The manifest has a row for every candidate.
"""

import ipaddress
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from countclip.data import fetch_worker, local_images
from countclip.data.local_images import check_all
from countclip.data.shards import MANIFEST, shards_of
from countclip.runtime import network
from countclip.runtime.files import digest, progress, publish, sha256, write_json, write_table
from countclip.runtime.folders import ImageFolder, inside
from countclip.runtime.machine import affordable_connections, raise_machine_error
from countclip.runtime.network import sendable

log = logging.getLogger(__name__)

# The place of an image depends on when it arrived. The manifest must not, so this is a file apart.
INDEX = pa.schema(
    {
        "key": pa.string(),
        "shard": pa.string(),  # tar below the folder
        "member": pa.string(),  # name in the tar
    }
)
TEMPORARY = re.compile(r"timeout|truncated|unreachable|lost|http_429|http_5\d\d")
LIMITS = {"too_many_pixels": "fetch.images.max_pixels", "too_large": "fetch.images.max_bytes"}
"""The key that sets the limit which rows of a status are above."""
GRACE = 60.0  # seconds for img2dataset to end by itself after its last shard
PATIENCE = 120.0  # longest delay of the second pass, in seconds, if hosts send Retry-After


def fetch_images(
    *,
    candidates: str | Path,
    manifest: str | Path,
    counts: str | Path,
    images: dict[str, Any],
    state: str | Path,
    environment: dict[str, str],
    folder: str | Path | None = None,
    shard_rows: int = 1000,
    success_percent_min: int = 50,
    connections: int = 16,
    processes: int = 1,
    stall_minutes: float = 10,
    attempts: int = 3,
) -> None:
    """Fetch the images of `candidates`; write the manifest and, beside it, the shards.

    counts: JSON with the rows by status, the gain of the second pass, and the worst hosts.
    images: settings that decide which images are stored: image_size, resize_mode, encode_format,
        encode_quality, timeout, deadline, max_bytes, max_pixels, private_networks
        (documented in config.schema.yaml).
    state: folder for finished shards; a killed job continues from there.
    environment: as `connection` yields it (connection.py).
    folder: where files may lie that candidates name (`file:` addresses, `local_file`); they are
        read where they are. None allows no file.
    shard_rows: candidates of a shard. connections: at a time, per process.
    stall_minutes: without a byte written, until img2dataset is killed and started again, `attempts`
        times in all.
    Raises RuntimeError if less than success_percent_min of the addresses yield an image, or none
    can be requested; ValueError for an invalid private network; OSError for an error of this
    machine, such as a full disk, which is recorded for no image.
    """
    for entry in images["private_networks"]:
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            raise ValueError(
                f"fetch.images.private_networks: {error}; write it as 10.1.0.0/16 or fd12::/16"
            ) from error
    rows = pq.read_table(candidates, columns=["sample_id", "url"])
    named = rows["url"].to_pylist()
    answers = _local_answers(named, folder, images, processes)
    urls = [
        (url, answers[i]["status"]) if i in answers else sendable(url, images["private_networks"])
        for i, url in enumerate(named)
    ]
    answers |= {
        i: {"status": reason} for i, (_, reason) in enumerate(urls) if reason and i not in answers
    }
    connections = affordable_connections(connections, "fetch.connections")
    settings = json.dumps([images, shard_rows], sort_keys=True)
    shards = Path(state).resolve() / digest(sha256(candidates), settings)

    def run_pass(name: str, indices: list[int]) -> _Pass:
        sent = {i: urls[i][0] for i in indices}
        run = _Pass(shards / name, sent, images, environment, shard_rows, connections, processes)
        run.supervise(stall_minutes * 60, attempts)
        answers.update(run.answers())
        return run

    if not urls:
        raise RuntimeError(
            f"{candidates}: no row of this part is a candidate, so there is no image to fetch: take"
            " the part out of laion.parts, or change what `captions` lets through"
        )
    first = run_pass("first", [i for i in range(len(urls)) if i not in answers])
    _require_success(answers, success_percent_min, first)
    again = [i for i in sorted(answers) if TEMPORARY.fullmatch(answers[i]["status"])]
    _wait_for_hosts(answers[i] for i in again)
    run_pass("again", again)
    _publish(rows, answers, shards, Path(manifest))
    recovered = sum(answers[i]["status"] == "ok" for i in again)
    second = {"asked_again": len(again), "recovered": recovered}
    write_json(_counted(answers, urls) | second, counts)
    shutil.rmtree(shards, ignore_errors=True)


def local_file(url: str, folder: str | Path) -> Path:
    """The file that a `file:` address names, which must lie in a folder of the config.

    `file:a/b.jpg` is relative to the folder, as it stands; `file:///data/a%20b.jpg` is absolute.
    ValueError for any other place, also one that a link or `..` leads to.
    """
    rest = url.strip()[len("file:") :]
    if rest.startswith("//"):
        parts = urlsplit(url.strip())
        if parts.netloc.lower() not in ("", "localhost") or parts.query or parts.fragment:
            raise ValueError("names a host, a query or a fragment")
        place = Path(os.path.abspath(unquote(parts.path)))
        tops = (os.path.abspath(folder), os.path.realpath(folder))
        top = next((top for top in tops if place.is_relative_to(top)), None)
        if top is None:
            raise ValueError(f"is outside {folder}")
        rest = str(place.relative_to(top))
    return inside(ImageFolder(Path(folder)), rest)


def _local_answers(
    urls: list[str], folder: str | Path | None, images: dict[str, Any], threads: int
) -> dict[int, dict[str, Any]]:
    """Row -> its status and image, of rows that name files (`local_images.check`).

    Without a folder these are addresses that cannot be requested, as any other path.
    """
    if folder is None:
        return {}
    files: dict[int, Path] = {}
    answers: dict[int, dict[str, Any]] = {}
    for i, url in enumerate(urls):
        if not url.strip().lower().startswith("file:"):
            continue
        try:
            files[i] = local_file(url, folder)
        except ValueError as error:
            answers[i] = {"status": "forbidden_file"}
            if len(answers) <= 5:
                log.info("%.200r: %s", url, error)
    limits = {key: images[key] for key in ("max_bytes", "max_pixels")}
    checked = check_all(files.values(), threads=threads, **limits) if files else {}
    return answers | {i: dict(checked[file]) for i, file in files.items()}


def classify(status: str, message: str | None) -> str:
    """The status of a candidate, from img2dataset's status and the worker's error message.

    It is `ok`; a reason of `network.DownloadError`, but `unreachable` or `bad_certificate` for dns
    and tls; a status of `images.Unusable`, or `too_many_pixels`; or `other`.
    """
    if status == "success":
        return "ok"
    message = message or ""
    reason = message.partition(" (")[0]
    if reason in ("dns", "tls"):
        return "bad_certificate" if "CERTIFICATE_VERIFY_FAILED" in message else "unreachable"
    if reason == "undecodable" and "too many" in message:
        return "too_many_pixels"
    return reason if re.fullmatch(r"[a-z_]+|http_\d{3}", reason) else "other"


def _wait_for_hosts(answers: Iterable[dict[str, Any]]) -> None:
    """Wait as long as hosts demanded (Retry-After), but at most PATIENCE."""
    wait = min(PATIENCE, max((a.get("retry_after", 0) for a in answers), default=0))
    if wait:
        log.info("hosts sent Retry-After: the second pass begins in %.0f s", wait)
        time.sleep(wait)


class _Pass:
    """One pass of img2dataset over some URLs (candidate's row -> URL), in one folder."""

    def __init__(
        self,
        folder: Path,
        urls: dict[int, str],
        images: dict[str, Any],
        environment: dict[str, str],
        shard_rows: int,
        connections: int,
        processes: int,
    ) -> None:
        self.folder, self.urls, self.images = folder, urls, images
        rows = list(urls)
        self.rows = [rows[i : i + shard_rows] for i in range(0, len(rows), shard_rows)]
        """The candidates' rows of each shard, as img2dataset divides them."""
        self.ok: dict[int, int] = {}
        """Finished shard -> number of its images."""
        self.arguments = {
            "urls": str(folder / "urls.parquet"),
            "output": str(folder / "shards"),
            "parent": os.getpid(),
            "agent": network.AGENT,
            "shard_rows": shard_rows,
            "connections": connections,
            "processes": processes,
            "images": images,
        }
        both = environment | {name.upper(): value for name, value in environment.items()}
        self.environment = os.environ | both | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def supervise(self, stall: float, attempts: int) -> None:
        """Run img2dataset until every shard is finished; RuntimeError after `attempts` runs."""
        (self.folder / "shards").mkdir(parents=True, exist_ok=True)
        table = pa.table({"row": list(self.urls), "url": list(self.urls.values())})
        write_table(table, self.folder / "urls.parquet")
        title = f"fetch ({self.folder.name} pass)"
        with progress(total=len(self.urls), unit="URL", desc=title) as bar:
            for attempt in range(attempts):
                self._drop_broken()
                if not self._progress(bar)[0]:
                    return
                if attempt:
                    log.warning(
                        "img2dataset is started again, attempt %d of %d", attempt + 1, attempts
                    )
                self._run_once(stall, bar)
            self._drop_broken()
            if missing := self._progress(bar)[0]:
                raise RuntimeError(
                    f"img2dataset left {len(missing)} of {len(self.rows)} shards undone after "
                    f"{attempts} attempts; see {self.folder / 'img2dataset.log'}. Run again: only "
                    "the missing shards are fetched"
                )

    def _run_once(self, stall: float, bar: Any) -> None:
        with open(self.folder / "img2dataset.log", "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", fetch_worker.__name__, json.dumps(self.arguments)],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            since, before = time.monotonic(), None
            try:
                while process.poll() is None:
                    time.sleep(0.2)
                    missing, written = self._progress(bar)
                    if (len(missing), written) != before:
                        since, before = time.monotonic(), (len(missing), written)
                    if time.monotonic() - since > (stall if missing else GRACE):
                        log.warning("img2dataset hangs (%d shards missing); killed", len(missing))
                        return
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.returncode > fetch_worker.STOPPED:
                code = process.returncode - fetch_worker.STOPPED
                raise OSError(code, os.strerror(code))
            if process.returncode > 0:
                lines = (self.folder / "img2dataset.log").read_text(errors="replace").splitlines()
                log.warning("img2dataset ended with %d: %s", process.returncode, lines[-1:])

    def _stats(self, shard: int) -> Path:
        return self.folder / "shards" / f"{shard:05d}_stats.json"

    def _progress(self, bar: Any) -> tuple[list[int], int]:
        """The unfinished shards, and their bytes so far, which grow unless img2dataset hangs."""
        files = {file.name: file for file in os.scandir(self.folder / "shards")}
        for i in range(len(self.rows)):
            if i not in self.ok and self._stats(i).name in files:
                with suppress(ValueError):  # it is being written
                    self.ok[i] = json.loads(self._stats(i).read_text())["successes"]
        done = sum(len(self.rows[i]) for i in self.ok)
        if done > bar.n:
            bar.set_postfix_str(f"{sum(self.ok.values()) / done:.1%} ok", refresh=False)
        bar.update(done - bar.n)
        missing = [i for i in range(len(self.rows)) if i not in self.ok]
        parts = [f"{i:05d}.{kind}" for i in missing for kind in ("tar", "parquet")]
        return missing, sum(files[name].stat().st_size for name in parts if name in files)

    def _drop_broken(self) -> None:
        """Delete the stats of incomplete shards, so that img2dataset fetches these again."""
        self.ok.clear()
        for i, rows in enumerate(self.rows):
            stats = self._stats(i)
            if not stats.exists():
                continue
            try:
                counts = json.loads(stats.read_text())
                table = self.read(i)
                ok = {r["key"] for r in table if r["status"] == "success"}
                is_subset = {r["row"] for r in table} <= set(rows)
                with tarfile.open(stats.with_name(f"{i:05d}.tar")) as tar:
                    members = {Path(name).stem for name in tar.getnames()}
                whole = counts["count"] == len(rows) and is_subset and ok <= members
            except (ValueError, KeyError, OSError, tarfile.TarError, pa.ArrowException) as error:
                raise_machine_error(error)
                log.warning("%s: %s", stats, error)
                whole = False
            if not whole:
                log.warning("shard %s is incomplete and is fetched again", stats)
                stats.unlink()

    def read(self, shard: int) -> list[dict[str, Any]]:
        columns = ["row", "key", "status", "error_message", "sha256", "width", "height"]
        return pq.read_table(
            self.folder / "shards" / f"{shard:05d}.parquet", columns=columns
        ).to_pylist()

    def answers(self) -> dict[int, dict[str, Any]]:
        """Row -> its status and image; rows that img2dataset dropped are `lost`."""
        answers: dict[int, dict[str, Any]] = {row: {"status": "lost"} for row in self.urls}
        for shard in range(len(self.rows)):
            for row in self.read(shard):
                message = row["error_message"] or ""
                status = classify(row["status"], message)
                answers[row["row"]] = {"status": status}
                if status == "other":
                    log.info("img2dataset says %.300r", message)
                if wait := re.search(r"retry after (\d+) s", message):
                    answers[row["row"]]["retry_after"] = float(wait[1])
                if status == "ok":
                    answers[row["row"]] |= {
                        "sha256": row["sha256"],
                        "width": row["width"],
                        "height": row["height"],
                        "shard": f"{self.folder.name}/{shard:05d}.tar",
                        "member": f"{row['key']}.{self.images['encode_format']}",
                    }
        return answers

    def drop_failures(self, percent: int) -> None:
        """Delete the stats of shards in which less than `percent` of URLs succeeded."""
        for i in range(len(self.rows)):
            if 100 * self.ok[i] < percent * len(self.rows[i]):
                self._stats(i).unlink()


REASONS = {
    "private_address": "these addresses are private: name their networks in"
    " fetch.images.private_networks",
    "bad_url": "paths and the like are no addresses of the web: serve the files over http",
    "unreachable": f"{network.OFFLINE}, or its proxy or resolver fails: restore the network",
    "too_large": "raise fetch.images.max_bytes",
    "too_many_pixels": "raise fetch.images.max_pixels",
    "timeout": "raise fetch.images.timeout or deadline, or lower fetch.connections",
    "forbidden_file": "a file must lie in laion.images, without links to files elsewhere",
    "missing": "these files are not there: laion.images must be the folder that holds them",
    "not_allowed": "the hosts opt out of programs like this one: name other parts in laion.parts",
}
"""What to do against a status of many candidates; for the others the network is to be checked."""


def _require_success(answers: dict[int, dict[str, Any]], percent: int, run: _Pass) -> None:
    """Raise RuntimeError unless `percent` of the addresses yielded an image, and one was requested.

    Addresses that are private count, although none was requested. Rows without a web address
    (bad_url) are no addresses, but `percent` of the rows must have one.
    """
    statuses = Counter(answer["status"] for answer in answers.values())
    images, addresses = statuses["ok"], len(answers) - statuses["bad_url"]
    requested = addresses - statuses["private_address"]
    few_addresses = 100 * addresses < percent * len(answers)
    if requested and not few_addresses and 100 * images >= percent * addresses:
        return
    run.drop_failures(percent)
    failures = [(status, n) for status, n in statuses.most_common() if status != "ok"]
    main = "bad_url" if few_addresses else failures[0][0]
    advice = REASONS.get(main, "check the network, and `network` in the config")
    lower = ", or lower that percentage" if images else ""
    raise RuntimeError(
        f"only {images} of {len(answers)} URLs answered with an image, and"
        f" fetch.success_percent_min is {percent}:"
        f" {', '.join(f'{n} {status}' for status, n in failures[:6])}. {main}: {advice}. Then run"
        f" again (only the shards that failed are fetched again){lower}"
    )


def _publish(
    rows: pa.Table, answers: dict[int, dict[str, Any]], folder: Path, manifest: Path
) -> None:
    """Publish the shards, then the manifest, so that the shards of a manifest always exist."""
    table = [{"key": f"{i:09d}", **row, **answers[i]} for i, row in enumerate(rows.to_pylist())]
    with publish(shards_of(manifest)) as temporary:
        for name in ("first", "again"):
            (temporary / name).mkdir(parents=True)
            for tar in sorted((folder / name / "shards").glob("*.tar")):
                try:
                    os.link(tar, temporary / name / tar.name)
                except OSError:  # another file system, or one without links
                    shutil.copyfile(tar, temporary / name / tar.name)
        stored = [row for row in table if row["status"] == "ok"]
        schema = INDEX
        if any("file" in row for row in stored):
            schema = pa.unify_schemas([INDEX, local_images.INDEX])
        write_table(pa.Table.from_pylist(stored, schema=schema), temporary / "index.parquet")
    write_table(pa.Table.from_pylist(table, schema=MANIFEST), manifest)


def _counted(
    answers: dict[int, dict[str, Any]], urls: list[tuple[str, str | None]]
) -> dict[str, Any]:
    """Count and log the rows by status; find the hosts that fail most often."""
    statuses = Counter(answer["status"] for answer in answers.values())
    for status, rows in statuses.most_common():
        limit = f" (raise {LIMITS[status]} to take these)" if status in LIMITS else ""
        log.info("%-20s %9d %6.1f %%%s", status, rows, 100 * rows / len(urls), limit)
    hosts: dict[str, Counter] = {}
    for i, (url, reason) in enumerate(urls):
        if not reason:
            hosts.setdefault(urlsplit(url).netloc, Counter())[answers[i]["status"]] += 1
    failed = {host: count.total() - count["ok"] for host, count in hosts.items()}
    worst = sorted(filter(failed.get, hosts), key=lambda host: (-failed[host], host))[:10]
    return {
        "statuses": dict(statuses),
        "failing_hosts": [{"host": host, "statuses": dict(hosts[host])} for host in worst],
    }
