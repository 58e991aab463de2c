"""What does every link of the benchmark answer today? And where does its list come from?

Links are asked for politely: few at a time of one host, with pauses, and not again before it wants
that. What comes is kept as it came; audit.py judges it. A machine that is cut off is told apart
from links that are dead, and then nothing is published.
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
from countclip.data.images import SIGNATURES
from countclip.runtime import network
from countclip.runtime.files import progress, publish, sha256, write_table
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
"""What a proxy says for a host that it cannot reach, and a captive portal for all of them."""
NOT_THE_HOST = (
    *(*SILENT, *GATEWAY, "bad_url", "tls", "too_many_redirects", "truncated"),
    *("http_401", "http_403"),
)
"""What does not show that the host spoke: a portal, a filter or a dead line may say it too."""
BUSY = ("http_429", "http_503")
"""With Retry-After: what a host says of itself, not of one link (RFC 9110, RFC 6585)."""
PATIENCE = 40
"""Links in a row without a word from their hosts before the line is suspected."""
SILENCE = 30.0
"""Seconds without a word from any host before the line is suspected."""
HOSTS = 10
"""Of so many hosts these links must be, where the list has as many."""


class OutageError(RuntimeError):
    """The machine itself is cut off, so nothing was learnt about the links."""


class Answer(NamedTuple):
    """What came for a link, in the columns of SCHEMA."""

    reason: str = ""
    http: int | None = None
    final_url: str = ""
    content_type: str = ""
    body: bytes = b""

    @property
    def is_heard(self) -> bool:
        """Whether nobody but the host itself can have said this: a picture, or that it is gone."""
        if self.reason:
            return self.reason not in NOT_THE_HOST
        return self.body.startswith(SIGNATURES)


def ask(
    list_path: str,
    answers: str,
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
    """Ask for every picture of the list and publish what came (SCHEMA, a row for each, by index).

    state: folder that keeps the answers of a job that was killed.
    environment: as `connection` yields it (connection.py).
    request: timeout, deadline and max_bytes, see `network.get`.
    threads: links asked for at a time; per_host of them at one host, where `pause` seconds lie
        between the end of a request and the next one in its place.
    retries: further attempts after a temporary failure. contact: see `network.session`.
    witness: an address that always shows a picture, asked only where no link shows that the machine
        is online: without one, a short list whose hosts are all gone looks like an outage.
    Raises OutageError, and publishes nothing, when the machine reaches nobody.
    """
    rows = load(list_path)
    found = _kept(Path(state))
    new_session = partial(network.session, environment, contact)
    turns = _Turns([row for row in rows if row.index not in found], per_host, pause, new_session)
    line = _Line(rows, found, new_session, request, witness)
    results = queue.SimpleQueue()
    for _ in range(threads):
        # Daemons: a job that is cut off must not wait for those who still hope for an answer.
        arguments = (turns, results, request, retries)
        threading.Thread(target=_work, args=arguments, daemon=True).start()
    try:
        with progress(total=len(rows), initial=len(found), unit="link", desc="audit") as bar:
            while len(found) < len(rows):
                try:
                    result = results.get(timeout=1)
                except queue.Empty:
                    line.check()
                    continue
                if isinstance(result, BaseException):
                    raise result
                row, answer, is_last = result
                if is_last:
                    found[row.index] = answer
                    bar.update()
                for known in line.note(row, answer, is_last):
                    _keep(Path(state), known, found[known])
                line.check()
        line.check(at_end=True)
    finally:
        turns.close()
    records = [{**row._asdict(), **found[row.index]._asdict()} for row in rows]
    write_table(pa.Table.from_pylist(records, schema=SCHEMA), answers)
    shutil.rmtree(state, ignore_errors=True)
    reasons = Counter(answer.reason or "a body" for answer in found.values())
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
    session = network.session(environment)
    body = network.get(url, session=session, max_bytes=max_bytes, retries=5).body
    if (actual := sha256(body)) != expected:
        detail = f"is {actual}, countbench.list_sha256 says {expected}"
        raise DownloadError(url, "wrong_sha256", detail)
    with publish(path) as temporary:
        temporary.write_bytes(body)


def host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


# ---- asking ----


def _ask(
    row: Row, session: requests.Session, request: dict[str, Any]
) -> tuple[Answer, DownloadError | None]:
    try:
        came = network.get(row.url, session=session, **request)
    except DownloadError as error:
        log.debug("row %d: %s", row.index, error)
        code = error.reason.removeprefix("http_")
        http = int(code) if code.isdecimal() else None
        return Answer(error.reason, http, error.final_url, error.content_type), error
    return Answer("", came.status, came.url, came.content_type, came.body), None


def _work(
    turns: "_Turns",
    results: queue.SimpleQueue,
    request: dict[str, Any],
    retries: int,
) -> None:
    """One who asks, until there is nobody left to ask."""
    while (turn := turns.take()) is not None:
        try:
            answer, error = _ask(turn.row, turn.session, request)
        except BaseException as error:  # whatever it is, the job must hear of it
            results.put(error)
            return
        again = error is not None and error.temporary and turn.attempt <= retries
        given_up = turns.give_back(turn, error, again)
        results.put((turn.row, answer, not again))
        for row in given_up:
            results.put((row, Answer(answer.reason, answer.http), True))


class _Turn(NamedTuple):
    """A row to ask for, the number of the attempt, and the session at its host that is free."""

    row: Row
    attempt: int
    session: requests.Session


@dataclass
class _Host:
    """rows: a heap of (not before, index, row, attempt). free: a heap of (not before, number,
    session): as many as may ask at a time, and each keeps its connection from row to row.
    quiet_until: what the host asked for."""

    free: list[tuple[float, int, requests.Session]]
    rows: list[tuple[float, int, Row, int]] = field(default_factory=list)
    quiet_until: float = 0.0

    @property
    def ready(self) -> float:
        return max(self.rows[0][0], self.free[0][0], self.quiet_until)


class _Turns:
    """Who is asked next? The host with most rows left, of those that may be asked now: so the
    longest line, which decides how long it all takes, never waits for the others."""

    def __init__(
        self,
        rows: list[Row],
        per_host: int,
        pause: float,
        new_session: Callable[[], requests.Session],
    ) -> None:
        self.pause, self.closed = pause, False
        self.changed = threading.Condition()
        self.hosts: dict[str, _Host] = {}
        for row in rows:
            host = self.hosts.setdefault(host_of(row.url), _Host([]))
            heapq.heappush(host.rows, (0.0, row.index, row, 1))
            if (number := len(host.free)) < per_host:
                heapq.heappush(host.free, (0.0, number, new_session()))

    def take(self) -> _Turn | None:
        """A turn that may be taken now; waits for one. None at the end."""
        with self.changed:
            while not self.closed:
                now = time.monotonic()
                waiting = [host for host in self.hosts.values() if host.rows and host.free]
                ready = [host for host in waiting if host.ready <= now]
                if ready:
                    host = max(ready, key=lambda host: len(host.rows))
                    _, _, row, attempt = heapq.heappop(host.rows)
                    return _Turn(row, attempt, heapq.heappop(host.free)[2])
                soonest = min((host.ready for host in waiting), default=None)
                self.changed.wait(None if soonest is None else soonest - now)
        return None

    def give_back(self, turn: _Turn, error: DownloadError | None, again: bool) -> list[Row]:
        """The session is free after a pause; with `again` the row waits for another turn.

        Returns the rows that are given up: those of a host that is asked too often and wants to
        be left alone for longer than anybody waits here.
        """
        given_up = []
        with self.changed:
            now, host = time.monotonic(), self.hosts[host_of(turn.row.url)]
            if error is not None and error.retry_after:
                if error.reason in BUSY and error.retry_after > network.LONGEST_PAUSE:
                    given_up, host.rows = [row for _, _, row, _ in host.rows], []
                wish = min(error.retry_after, network.LONGEST_PAUSE)
                host.quiet_until = max(host.quiet_until, now + wish)
            if again:
                later = now + network.pause(error, turn.attempt)
                heapq.heappush(host.rows, (later, turn.row.index, turn.row, turn.attempt + 1))
            if host.rows:
                heapq.heappush(host.free, (now + self.pause, id(turn), turn.session))
            else:
                turn.session.close()
            self.changed.notify_all()
        if given_up:
            log.warning(
                "%s wants to be left alone for %.0f s: %d more links of it are not asked; run"
                " again later, with a larger countbench.request.pause_ms",
                host_of(turn.row.url), error.retry_after, len(given_up),
            )  # fmt: skip
        return given_up

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


# ---- outages ----


class _Line:
    """Is the line up? As long as hosts are heard, others are silent for reasons of their own. After
    a long silence hosts that were heard before are asked once more: the witnesses. A given one
    stands first, so that it is asked only where few others are known."""

    def __init__(
        self,
        rows: list[Row],
        found: dict[int, Answer],
        new_session: Callable[[], requests.Session],
        request: dict[str, Any],
        witness: str,
    ) -> None:
        self.new_session, self.request = new_session, request
        self.hosts = min(HOSTS, len({host_of(row.url) for row in rows}))
        heard = [row for row in rows if row.index in found and found[row.index].is_heard]
        given = [Row(-1, witness, "", 0)] if witness else []
        self.witnesses = {host_of(row.url): row for row in (*given, *heard)}
        self.since = time.monotonic()
        self.silent: dict[int, tuple[Row, Answer]] = {}
        self.pending: list[int] = []

    def note(self, row: Row, answer: Answer, is_last: bool) -> list[int]:
        """Take note of an answer; return which rows' last answers are worth keeping, now that
        somebody has been heard after them. Silence itself is asked again after a kill."""
        if is_last and answer.reason not in (*SILENT, *GATEWAY):
            self.pending.append(row.index)
        if not answer.is_heard:
            if answer.reason != "bad_url":  # which nobody was asked for
                self.silent[row.index] = row, answer
            return []
        self.witnesses.pop(host_of(row.url), None)
        self.witnesses[host_of(row.url)] = row  # the last one heard stands last
        self._reset()
        known, self.pending = self.pending, []
        return known

    def _reset(self) -> None:
        self.silent, self.since = {}, time.monotonic()

    def check(self, at_end: bool = False) -> None:
        """OutageError if the line is down. at_end: after the last row, when less suffices."""
        hosts = {host_of(row.url) for row, _ in self.silent.values()}
        many = len(self.silent) >= PATIENCE and len(hosts) >= self.hosts
        long = time.monotonic() - self.since > SILENCE and self.hosts == HOSTS
        if not (many or long or (at_end and self.silent)):
            return
        answers = [answer for _, answer in self.silent.values()]
        if at_end and not self.witnesses:
            # Nobody was ever heard: a line that is down, unless hosts differ in what they say.
            pages = {answer.body for answer in answers if not answer.reason}
            mute = all(answer.reason in (*SILENT, *GATEWAY) for answer in answers)
            if not mute and not (len(pages) == 1 and len(hosts) > 1):
                return
        for witness in list(self.witnesses.values())[-3:]:
            if _ask(witness, self.new_session(), self.request)[0].is_heard:
                return self._reset()
        reasons = Counter(answer.reason or "a page in the place of a picture" for answer in answers)
        raise OutageError(
            f"{len(answers)} links in a row without a word from their hosts"
            f" ({', '.join(f'{n} {reason}' for reason, n in reasons.most_common())}), and nobody"
            f" who was heard before answers: this machine seems to be offline, behind a proxy that"
            f" it does not use, or before a page that asks it to log in. Nothing was published and"
            f" no earlier audit touched. Restore the network and run again; answers from before"
            f" are kept. If it is online and the links are dead indeed, let"
            f" countbench.request.witness name a picture that is there."
        )


# ---- what a killed job had heard ----


def _keep(state: Path, index: int, answer: Answer) -> None:
    state.mkdir(parents=True, exist_ok=True)
    head = {**answer._asdict(), "body": None}
    with publish(state / f"{index}.answer") as temporary:
        temporary.write_bytes(json.dumps(head).encode() + b"\n" + answer.body)


def _kept(state: Path) -> dict[int, Answer]:
    found = {}
    for path in state.glob("[0-9]*.answer"):  # not what a kill left half written
        head, body = path.read_bytes().split(b"\n", 1)
        found[int(path.stem)] = Answer(**{**json.loads(head), "body": body})
    if found:
        log.info("going on from %d answers in %s; delete it to ask anew", len(found), state)
    return found
