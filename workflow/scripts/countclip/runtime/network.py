"""How does a job reach the network? Bounded, over http(s) only, and never into a private network.

Jobs that download work through a `session` of their `connection` (connection.py). What comes is
bounded in bytes and in time, redirects and headers included, and a host is asked again only after
growing pauses, or those that it names (Retry-After, RFC 9110).
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import requests
import tenacity
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from countclip.runtime.files import progress
from countclip.runtime.files import sha256 as digest_of
from countclip.runtime.hosts import OPT_OUTS, is_public, retry_after

log = logging.getLogger(__name__)

CHUNK = 1 << 16
AGENT = "countclip-workflow"
LONGEST_PAUSE = 60.0
"""Seconds. A host that wants to be left alone for longer (Retry-After) is not asked again."""
WITH_VALUE = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}
"""Directives that look like the name of a robot, since a colon follows."""


class DownloadError(Exception):
    """A download that failed. `reason` is one of: bad_url, http_<status>, timeout, dns, tls,
    unreachable, private_address, too_many_redirects, not_allowed (X-Robots-Tag), too_large,
    truncated, wrong_size, wrong_sha256.

    final_url, content_type: of the answer, where one came. retry_after: seconds that it asks for.
    """

    def __init__(
        self, url: str, reason: str, detail: str = "", answer: requests.Response | None = None
    ) -> None:
        super().__init__(f"{url[:300]}: {reason}{f' ({detail[:300]})' if detail else ''}")
        self.url, self.reason = url, reason
        headers = {} if answer is None else answer.headers
        self.final_url = "" if answer is None else answer.url
        self.content_type = headers.get("Content-Type", "")
        self.retry_after = retry_after(headers.get("Retry-After", ""))

    @property
    def temporary(self) -> bool:
        """Whether asking again may help, and soon enough."""
        transient = ("timeout", "dns", "unreachable", "truncated", "http_429")
        return self.retry_after <= LONGEST_PAUSE and (
            self.reason in transient or self.reason.startswith("http_5")
        )


class Answer(NamedTuple):
    """A complete answer: the body, the URL after redirects, the content type as claimed, and the
    HTTP status, which is one of success."""

    body: bytes
    url: str
    content_type: str
    status: int


class _Session(requests.Session):
    """Leaves the bodies of redirects unread, and follows none after the deadline `end`. No host is
    told a password of ~/.netrc: whoever writes a link or a redirect would choose the host."""

    end: float | None = None

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if target := super().get_redirect_target(resp):
            resp.close()  # or requests reads it, however much comes
            if self.end is not None and time.monotonic() > self.end:
                raise requests.exceptions.Timeout("redirects until the deadline")
        return target

    def rebuild_auth(self, prepared_request, response: requests.Response) -> None:
        if self.should_strip_auth(response.request.url, prepared_request.url):
            prepared_request.headers.pop("Authorization", None)


def session(environment: dict[str, str], contact: str = "") -> requests.Session:
    """A session through `environment` (connection.py); one thread's at a time.

    environment: http_proxy and https_proxy, if any; no_proxy: hosts that are reached without;
        REQUESTS_CA_BUNDLE: whose certificates are trusted. Empty: as the machine is set up.
    contact: a page or address that the user agent names, so that hosts can say what they mind.
    """
    new = _Session()
    agent = f"{AGENT} (+{contact})" if contact else AGENT
    new.headers.update({"User-Agent": agent, "Accept-Encoding": "identity"})
    new.max_redirects = 5
    new.auth = lambda request: request  # none
    new.mount("http://", _Adapter())
    new.mount("https://", _Adapter())
    if environment:
        new.trust_env = False
        new.verify = environment.get("REQUESTS_CA_BUNDLE") or True
        for scheme in ("http", "https"):
            new.proxies[scheme] = environment[f"{scheme}_proxy"]
            for host in environment.get("no_proxy", "").split(","):
                new.proxies[f"{scheme}://{host}"] = ""
    return new


def get(
    url: str,
    *,
    session: requests.Session,
    max_bytes: int,
    timeout: float = 10,
    deadline: float = 120,
    retries: int = 0,
) -> Answer:
    """The body of `url`, at most `max_bytes`; DownloadError says why not.

    timeout: seconds to connect, for the head of an answer, and between two bytes of its body.
    deadline: seconds for the whole, redirects included; it may be exceeded by one `timeout`.
    retries: further attempts after a temporary failure, see `pause`.
    Nothing is read that its host asks programs to leave alone (X-Robots-Tag).
    """

    def attempt() -> Answer:
        body = bytearray()
        with _stream(url, session, timeout, deadline) as (response, chunks):
            if wish := _leave_alone(response.raw.headers.getlist("X-Robots-Tag")):
                raise DownloadError(url, "not_allowed", f"X-Robots-Tag: {wish}", response)
            for chunk in chunks:
                body += chunk
                if len(body) > max_bytes:
                    raise DownloadError(url, "too_large", f"over {max_bytes} bytes", response)
            content_type = response.headers.get("Content-Type", "")
            return Answer(bytes(body), response.url, content_type, response.status_code)

    return _retrying(retries)(attempt)


def download(
    url: str,
    path: str | Path,
    *,
    session: requests.Session,
    size: int,
    sha256: str,
    partial: str | Path,
    timeout: float = 30,
    retries: int = 5,
    headers: dict[str, str] | None = None,
) -> None:
    """Download `url` to `path`, which appears only once its size and sha256 are right.

    partial: the file that keeps what has arrived. A killed job goes on from there (HTTP Range),
        also when the server ignores ranges and the whole must come again.
    """
    path, partial = Path(path), Path(partial)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
    if partial.stat().st_size > size:
        partial.unlink()
        partial.touch()

    def attempt() -> None:
        done = partial.stat().st_size
        if done == size:
            return
        ask = {**(headers or {}), **({"Range": f"bytes={done}-"} if done else {})}
        with (
            _stream(url, session, timeout, None, ask) as (response, chunks),
            open(partial, "r+b") as file,
        ):
            start = response.headers.get("Content-Range", "").removeprefix("bytes ")
            done = done if response.status_code == 206 and start.startswith(f"{done}-") else 0
            file.seek(done)
            file.truncate()
            with progress(total=size, unit="B", desc=path.name, initial=done) as bar:
                for chunk in chunks:
                    done += len(chunk)
                    if done > size:
                        raise DownloadError(url, "wrong_size", f"more than {size} bytes")
                    file.write(chunk)
                    bar.update(len(chunk))
        if done < size:
            raise DownloadError(url, "truncated", f"{done} of {size} bytes")

    try:
        _retrying(retries)(attempt)
        if (actual := digest_of(partial)) != sha256:
            raise DownloadError(url, "wrong_sha256", f"is {actual}, the manifest says {sha256}")
    except DownloadError as error:
        if error.reason in ("wrong_sha256", "wrong_size"):
            partial.unlink()  # what arrived is another file: the next attempt must start anew
        raise
    os.replace(partial, path)


def _retrying(retries: int) -> tenacity.Retrying:
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: isinstance(e, DownloadError) and e.temporary),
        stop=tenacity.stop_after_attempt(retries + 1),
        wait=lambda state: pause(state.outcome.exception(), state.attempt_number),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )


def pause(error: DownloadError, attempt: int) -> float:
    """Seconds until the next attempt, after failure number `attempt` (from 1): growing, never less
    than the host asks for, with a jitter that is the URL's own, so that no two hosts' attempts
    fall together and every run has the same pauses."""
    jitter = Random(f"{attempt} {error.url}").uniform(0.75, 1.25)
    return max(min(0.2 * 2**attempt, 30) * jitter, error.retry_after)


def _leave_alone(fields: Iterable[str]) -> str:
    """The first directive of X-Robots-Tag that is meant for us too, or ''.

    A field may begin with the name of the robot that it is for: `otherbot: noindex, noarchive`.
    """
    for field in fields:
        name, colon, rest = field.partition(":")
        name = name.strip().lower()
        if colon and "," not in name and name not in WITH_VALUE:
            if name != AGENT:
                continue  # for another robot
            field = rest
        for directive in field.lower().split(","):
            if directive.strip() in OPT_OUTS:
                return directive.strip()
    return ""


@contextmanager
def _stream(
    url: str,
    session: requests.Session,
    timeout: float,
    deadline: float | None,
    headers: dict[str, str] | None = None,
) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
    """Yield a successful response and its body in chunks."""
    end = None if deadline is None else time.monotonic() + deadline

    def chunks() -> Iterator[bytes]:
        detail = f"not complete after {deadline} s"
        with _failures(url, response), _cut_off(end, response.raw.hang_up, detail):
            # What is there, unlike iter_content, which waits for a whole chunk of single bytes.
            while chunk := response.raw.read1(CHUNK, decode_content=True):
                yield chunk

    with _failures(url):
        session.end = end
        response = session.get(url, stream=True, timeout=timeout, headers=headers)
    with response:
        if not response.ok:
            raise DownloadError(url, f"http_{response.status_code}", answer=response)
        yield response, chunks()


@contextmanager
def _cut_off(end: float | None, hang_up: Callable[[], None], detail: str) -> Iterator[None]:
    """Hang up at the time `end`, whatever is being read then, and raise TimeoutError: a socket's
    own timeout begins anew with every byte, and what frames a body may have no end."""
    if end is None:
        yield
        return
    late = threading.Event()

    def too_late() -> None:
        late.set()
        with suppress(OSError):  # it has just ended
            hang_up()

    timer = threading.Timer(max(0, end - time.monotonic()), too_late)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            raise TimeoutError(f"timed out: {detail}")


@contextmanager
def _failures(url: str, answer: requests.Response | None = None) -> Iterator[None]:
    """Turn what requests and urllib3 raise into a DownloadError."""
    try:
        yield
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise DownloadError(url, _reason(error), str(error), answer) from error
    except ValueError as error:  # requests lets a few of these through for hopeless URLs
        raise DownloadError(url, "bad_url", str(error)) from error


def _reason(error: Exception) -> str:
    known = requests.exceptions
    cause = getattr(error.args[0] if error.args else None, "reason", None) or error
    for kinds, reason in (
        (_PrivateAddressError, "private_address"),
        ((known.InvalidURL, known.MissingSchema, known.InvalidSchema), "bad_url"),
        (known.TooManyRedirects, "too_many_redirects"),
        (urllib3.exceptions.NameResolutionError, "dns"),
        ((known.SSLError, urllib3.exceptions.SSLError), "tls"),
        (urllib3.exceptions.ProtocolError, "truncated"),
        (known.Timeout, "timeout"),
    ):
        if isinstance(error, kinds) or isinstance(cause, kinds):
            return reason
    return "timeout" if "timed out" in str(error).lower() else "unreachable"


class _PrivateAddressError(urllib3.exceptions.HTTPError):
    pass


class _Prompt:
    """A connection on which the head of an answer must come in time as a whole. The answer can
    `hang_up` too: both ways, as Linux would go on receiving, and not as TLS does, which waits."""

    def getresponse(self):
        hang_up = partial(socket.socket.shutdown, self.sock, socket.SHUT_RDWR)
        with _cut_off(time.monotonic() + self.timeout, hang_up, "no whole head of an answer"):
            answer = super().getresponse()
        answer.hang_up = hang_up
        return answer


class _Public(_Prompt):
    """Checks the address that was really connected to, before a byte is sent: neither a redirect
    nor a name that resolves differently the second time gets around it."""

    def _new_conn(self):
        sock = super()._new_conn()
        address = sock.getpeername()[0]
        if not is_public(address):
            with suppress(OSError):
                sock.close()
            raise _PrivateAddressError(f"{self.host} is at {address}, not a public address")
        return sock


def _pools(kind: type) -> dict[str, type]:
    """urllib3's pools by scheme, with connections of a kind."""
    http = type("HTTP", (kind, HTTPConnection), {})
    https = type("HTTPS", (kind, HTTPSConnection), {})
    return {
        "http": type("HTTPPool", (HTTPConnectionPool,), {"ConnectionCls": http}),
        "https": type("HTTPSPool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
    }


_DIRECT, _PROXIED = _pools(_Public), _pools(_Prompt)


class _Adapter(HTTPAdapter):
    """Direct connections are checked; a connection through a proxy is the proxy's business."""

    def init_poolmanager(self, *args, **kwargs) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _DIRECT

    def proxy_manager_for(self, *args, **kwargs):
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _PROXIED
        return manager
