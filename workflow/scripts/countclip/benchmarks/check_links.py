"""Link check of a benchmark: its list, and the response to every link of it.

Requests are polite: few at a time to one host, with pauses, and no earlier than Retry-After allows.
Responses are stored as they came; audit.py judges them. If the machine itself is offline, the check
fails and publishes nothing.
"""

import heapq
import json
import logging
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
import requests

from countclip.benchmarks.countbench import Row, load
from countclip.data.images import known_start
from countclip.runtime import network
from countclip.runtime.files import progress, publish, sha256, write_table
from countclip.runtime.machine import affordable_connections
from countclip.runtime.network import DownloadError

log = logging.getLogger(__name__)

SCHEMA = pa.schema(
    {
        "index": pa.int32(),
        "url": pa.string(),
        "reason": pa.string(),  # why no body came (DownloadError), or ''
        "http": pa.int16(),
        "final_url": pa.string(),
        "content_type": pa.string(),
        "body": pa.large_binary(),
    }
)
SILENT = ("timeout", "dns", "unreachable", "private_address")
GATEWAY = ("http_407", "http_502", "http_503", "http_504", "http_511")
"""What a proxy answers for a host that it cannot reach, or a captive portal for every host."""
NOT_FROM_HOST = (
    *(*SILENT, *GATEWAY, "bad_url", "tls", "too_many_redirects", "truncated"),
    *("http_401", "http_403"),
)
"""Reasons that do not prove a response of the host: an outage, filter or portal gives them too."""
BUSY = ("http_429", "http_503")
"""With Retry-After these concern the whole host, not one link (RFC 9110, RFC 6585)."""
PATIENCE = 40
"""Links in a row without a response of their hosts before an outage is suspected."""
SILENCE = 30.0
"""Seconds without a response of any host before an outage is suspected."""
MANY = 4096  # open connections that are enough for any list
HOSTS = 10
"""Hosts that these links must span, if the list has as many."""


class OutageError(RuntimeError):
    """The machine itself is offline, so nothing was learnt about the links."""


class Answer(NamedTuple):
    """The response to a link, in the columns of SCHEMA."""

    reason: str = ""
    http: int | None = None
    final_url: str = ""
    content_type: str = ""
    body: bytes = b""

    @property
    def is_from_host(self) -> bool:
        """Whether only the host itself can have sent this, such as an image or a 404."""
        if self.reason:
            return self.reason not in NOT_FROM_HOST
        return known_start(self.body) is not None


def check_links(
    list_json: str,
    answers_parquet: str,
    *,
    state: str,
    environment: dict[str, str],
    request: dict[str, Any],
    threads: int,
    per_host: int,
    pause: float,
    retries: int,
    contact: str = "",
    witness: str = "",
) -> None:
    """Request every link of the list; publish the responses (SCHEMA, by index).

    state: folder for the responses of a job that was killed.
    environment: as `connection` yields it (connection.py).
    request: timeout, deadline and max_bytes, see `network.get`.
    threads: links requested at a time; per_host of them at one host, where `pause` seconds lie
        between the end of a request and the next one in its place.
    retries: further attempts after a temporary failure. contact: see `network.session`.
    witness: an address that always shows an image. It is requested only if no link shows that the
        machine is online: without one, a short list whose hosts are all gone looks like an outage.
    Raises OutageError, and publishes nothing, if no host can be reached; ValueError if no link of
    the list can be requested; OSError for an error of this machine, such as too many open files.
    """
    rows = load(list_json)
    _require_links(rows, list_json)
    answers = _load_answers(Path(state))
    new_session = partial(network.session, environment, contact)
    pending = [row for row in rows if row.index not in answers]
    wanted = threads + per_host * len({host_of(row.url) for row in pending})
    affordable = affordable_connections(min(wanted, MANY), "countbench.request.threads")
    threads = min(threads, affordable)
    host_queues = _HostQueues(pending, per_host, pause, new_session, affordable - threads)
    outage = _OutageDetector(rows, answers, new_session, request, witness)
    results = queue.SimpleQueue()
    for _ in range(threads):
        # Daemons: a job that is offline must not wait for requests that are still open.
        arguments = (host_queues, results, request, retries)
        threading.Thread(target=_request_links, args=arguments, daemon=True).start()
    try:
        with progress(total=len(rows), initial=len(answers), unit="link", desc="audit") as bar:
            while len(answers) < len(rows):
                try:
                    result = results.get(timeout=1)
                except queue.Empty:
                    outage.check()
                    continue
                if isinstance(result, BaseException):
                    raise result
                row, answer, is_last = result
                if is_last:
                    answers[row.index] = answer
                    bar.update()
                for index in outage.record(row, answer, is_last):
                    _save_answer(Path(state), index, answers[index])
                outage.check()
        outage.check(at_end=True)
    finally:
        host_queues.close()
    records = [{**row._asdict(), **answers[row.index]._asdict()} for row in rows]
    write_table(pa.Table.from_pylist(records, schema=SCHEMA), answers_parquet)
    shutil.rmtree(state, ignore_errors=True)
    reasons = Counter(answer.reason or "a body" for answer in answers.values())
    log.info("%d links: %s", len(rows), dict(sorted(reasons.items())))


def download_list(
    url: str | None,
    path: str | Path,
    *,
    expected: str | None,
    max_bytes: int,
    environment: dict[str, str],
) -> None:
    """Download the benchmark's list to `path`; DownloadError unless its sha256 is `expected`.

    environment: as `connection` yields it (connection.py).
    """
    if url is None or expected is None:
        raise ValueError(
            f"{path} is downloaded: set countbench.list_url and list_sha256, or countbench.list to "
            "a file of yours"
        )
    otherwise = (
        "correct countbench.list_url and list_sha256, or set countbench.list to a file of yours"
    )
    with network.explained("the benchmark's list", otherwise):
        session = network.session(environment)
        body = network.get(url, session=session, max_bytes=max_bytes, retries=5).body
        if (actual := sha256(body)) != expected:
            detail = f"is {actual}, countbench.list_sha256 says {expected}"
            raise DownloadError(url, "wrong_sha256", detail)
    with publish(path) as temporary:
        temporary.write_bytes(body)


def _require_links(rows: list[Row], list_json: str) -> None:
    """Raise ValueError if no link can be requested: all are private, or paths and the like."""
    reasons = Counter(network.sendable(row.url)[1] for row in rows)
    if not reasons[None]:
        counts = " and ".join(f"{n} {reason}" for reason, n in reasons.most_common() if n)
        raise ValueError(
            f"{list_json}: no link of {len(rows)} can be requested ({counts}), such as"
            f" {rows[0].url[:200]!r}: links must begin with http:// or https:// and name a public"
            " host. Images of yours are a benchmark with `source: folder`"
            " (docs/guides/own-benchmark.md)"
        )


def host_of(url: str) -> str:
    """The host of a URL, or '' for a URL without a valid one."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


# ---- requests ----


def _request_link(
    row: Row, session: requests.Session, request: dict[str, Any]
) -> tuple[Answer, DownloadError | None]:
    try:
        response = network.get(row.url, session=session, **request)
    except DownloadError as error:
        log.debug("row %d: %s", row.index, error)
        code = error.reason.removeprefix("http_")
        http = int(code) if code.isdecimal() else None
        return Answer(error.reason, http, error.final_url, error.content_type), error
    return Answer("", response.status, response.url, response.content_type, response.body), None


def _request_links(
    host_queues: "_HostQueues",
    results: queue.SimpleQueue,
    request: dict[str, Any],
    retries: int,
) -> None:
    """Request links until none is left: the work of one thread."""
    while (task := host_queues.next_task()) is not None:
        try:
            answer, error = _request_link(task.row, task.session, request)
        except BaseException as error:  # whatever it is, the main thread must raise it
            results.put(error)
            return
        again = error is not None and error.temporary and task.attempt <= retries
        dropped = host_queues.finish(task, error, again)
        results.put((task.row, answer, not again))
        for row in dropped:
            results.put((row, Answer(answer.reason, answer.http), True))


class _Task(NamedTuple):
    """A row to request, the number of the attempt (from 1), and a free session."""

    row: Row
    attempt: int
    session: requests.Session


@dataclass
class _Host:
    """The rows that wait for one host, and its free sessions.

    rows: a heap of (not before, index, row, attempt). free: a heap of (not before, number,
        session), one for each simultaneous request; a session keeps its connection between rows.
    quiet_until: end of the pause that the host asked for (monotonic seconds, like the others).
    """

    free: list[tuple[float, int, requests.Session]]
    rows: list[tuple[float, int, Row, int]] = field(default_factory=list)
    quiet_until: float = 0.0

    @property
    def ready(self) -> float:
        return max(self.rows[0][0], self.free[0][0], self.quiet_until)


class _HostQueues:
    """Queues of rows, one for each host; the longest ready one goes first.

    The longest queue decides how long the whole check takes, so it never waits for the others.
    """

    def __init__(
        self,
        rows: list[Row],
        per_host: int,
        pause: float,
        new_session: Callable[[], requests.Session],
        idle_max: int,
    ) -> None:
        """Queue the rows. idle_max: sessions that may keep a connection open while they wait."""
        self.pause, self.closed = pause, False
        self.idle_max, self.idle = idle_max, set()
        self.changed = threading.Condition()
        self.hosts: dict[str, _Host] = {}
        for row in rows:
            host = self.hosts.setdefault(host_of(row.url), _Host([]))
            heapq.heappush(host.rows, (0.0, row.index, row, 1))
            if (number := len(host.free)) < per_host:
                heapq.heappush(host.free, (0.0, number, new_session()))

    def next_task(self) -> _Task | None:
        """Wait for a task that may start now and return it; None after `close`."""
        with self.changed:
            while not self.closed:
                now = time.monotonic()
                waiting = [host for host in self.hosts.values() if host.rows and host.free]
                ready = [host for host in waiting if host.ready <= now]
                if ready:
                    host = max(ready, key=lambda host: len(host.rows))
                    _, _, row, attempt = heapq.heappop(host.rows)
                    session = heapq.heappop(host.free)[2]
                    self.idle.discard(session)
                    return _Task(row, attempt, session)
                soonest = min((host.ready for host in waiting), default=None)
                self.changed.wait(None if soonest is None else soonest - now)
        return None

    def finish(self, task: _Task, error: DownloadError | None, again: bool) -> list[Row]:
        """Free the session of a task after the pause; queue its row again if `again`.

        Returns the rows that are dropped: all of a host that asks for a longer pause (Retry-After)
        than network.LONGEST_PAUSE.
        """
        dropped = []
        with self.changed:
            now, host = time.monotonic(), self.hosts[host_of(task.row.url)]
            if error is not None and error.retry_after:
                if error.reason in BUSY and error.retry_after > network.LONGEST_PAUSE:
                    dropped, host.rows = [row for _, _, row, _ in host.rows], []
                seconds = min(error.retry_after, network.LONGEST_PAUSE)
                host.quiet_until = max(host.quiet_until, now + seconds)
            if again:
                later = now + network.pause(error, task.attempt)
                heapq.heappush(host.rows, (later, task.row.index, task.row, task.attempt + 1))
            if host.rows:
                heapq.heappush(host.free, (now + self.pause, id(task), task.session))
            if host.rows and len(self.idle) < self.idle_max:
                self.idle.add(task.session)
            else:
                task.session.close()  # its connection; it can open another one
            self.changed.notify_all()
        if dropped:
            log.warning(
                "%s asks for a pause of %.0f s: %d more of its links are not requested; run again"
                " later, with a larger countbench.request.pause_ms",
                host_of(task.row.url), error.retry_after, len(dropped),
            )  # fmt: skip
        return dropped

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


# ---- outages ----


class _OutageDetector:
    """Tells a local outage from dead hosts.

    After a long run of failures it requests links of hosts that responded before, the witnesses.
    A witness of the config stands first, so it is used only while few others are known.
    """

    def __init__(
        self,
        rows: list[Row],
        answers: dict[int, Answer],
        new_session: Callable[[], requests.Session],
        request: dict[str, Any],
        witness: str,
    ) -> None:
        self.new_session, self.request = new_session, request
        self.hosts = min(HOSTS, len({host_of(row.url) for row in rows}))
        witnesses = [Row(-1, witness, "", 0)] if witness else []
        witnesses += [
            row for row in rows if row.index in answers and answers[row.index].is_from_host
        ]
        self.witnesses = {host_of(row.url): row for row in witnesses}
        self.failures: dict[int, tuple[Row, Answer]] = {}
        self.since = time.monotonic()
        self.unconfirmed: list[int] = []

    def record(self, row: Row, answer: Answer, is_last: bool) -> list[int]:
        """Note an answer; return the rows whose last answers are now known to be valid.

        An answer is valid once any host has responded after it, which shows that the machine is
        online. Rows without any response are never returned: a later job requests them again.
        """
        if is_last and answer.reason not in (*SILENT, *GATEWAY):
            self.unconfirmed.append(row.index)
        if not answer.is_from_host:
            if answer.reason != "bad_url":  # no host was contacted for it
                self.failures[row.index] = row, answer
            return []
        self.witnesses.pop(host_of(row.url), None)
        self.witnesses[host_of(row.url)] = row  # the latest one stands last
        self._reset()
        confirmed, self.unconfirmed = self.unconfirmed, []
        return confirmed

    def _reset(self) -> None:
        self.failures, self.since = {}, time.monotonic()

    def check(self, at_end: bool = False) -> None:
        """Raise OutageError if the machine is offline.

        at_end: all rows are done, so that fewer failures suffice to test it.
        """
        hosts = {host_of(row.url) for row, _ in self.failures.values()}
        many = len(self.failures) >= PATIENCE and len(hosts) >= self.hosts
        long = time.monotonic() - self.since > SILENCE and self.hosts == HOSTS
        if not (many or long or (at_end and self.failures)):
            return
        answers = [answer for _, answer in self.failures.values()]
        if at_end and not self.witnesses:
            # No host ever responded. That is an outage unless the hosts' answers differ.
            pages = {answer.body for answer in answers if not answer.reason}
            mute = all(answer.reason in (*SILENT, *GATEWAY) for answer in answers)
            if not mute and not (len(pages) == 1 and len(hosts) > 1):
                return
        for witness in list(self.witnesses.values())[-3:]:
            if _request_link(witness, self.new_session(), self.request)[0].is_from_host:
                return self._reset()
        reasons = Counter(answer.reason or "a page instead of an image" for answer in answers)
        raise OutageError(
            f"{len(answers)} links in a row without a response of their hosts"
            f" ({', '.join(f'{n} {reason}' for reason, n in reasons.most_common())}), and no host"
            f" that responded before does so now: this machine seems to be offline, behind a proxy"
            f" that it does not use, or behind a captive portal. Nothing was published, and earlier"
            f" results are unchanged. Restore the network and run again; earlier responses are"
            f" reused. If the machine is online and the links are dead, set"
            f" countbench.request.witness to the address of an image that exists."
        )


# ---- resumption after a kill ----


def _save_answer(state: Path, index: int, answer: Answer) -> None:
    state.mkdir(parents=True, exist_ok=True)
    head = {**answer._asdict(), "body": None}
    with publish(state / f"{index}.answer") as temporary:
        temporary.write_bytes(json.dumps(head).encode() + b"\n" + answer.body)


def _load_answers(state: Path) -> dict[int, Answer]:
    found = {}
    for path in state.glob("[0-9]*.answer"):  # not the partial files of a kill
        head, body = path.read_bytes().split(b"\n", 1)
        found[int(path.stem)] = Answer(**{**json.loads(head), "body": body})
    if found:
        log.info("resuming from %d answers in %s; delete it to start anew", len(found), state)
    return found
