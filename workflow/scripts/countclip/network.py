"""How does a job reach the network? Bounded, over http(s) only, and never into a private network.

Jobs that download work through a `session` of their `connection` (connection.py).
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import requests
import tenacity
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from countclip.addresses import is_public
from countclip.files import progress
from countclip.files import sha256 as digest_of

log = logging.getLogger(__name__)

CHUNK = 1 << 16
AGENT = "countclip-workflow"


class DownloadError(Exception):
    """A download that failed. `reason` is one of: bad_url, http_<status>, timeout, unreachable,
    private_address, too_many_redirects, too_large, truncated, wrong_size, wrong_sha256."""

    def __init__(self, url: str, reason: str, detail: str = "") -> None:
        super().__init__(f"{url[:300]}: {reason}{f' ({detail[:300]})' if detail else ''}")
        self.url, self.reason = url, reason

    @property
    def temporary(self) -> bool:
        """Whether asking again may help."""
        transient = ("timeout", "unreachable", "truncated", "http_429")
        return self.reason in transient or self.reason.startswith("http_5")


class Answer(NamedTuple):
    """A complete answer: the body, the URL after redirects, and the content type as claimed."""

    body: bytes
    url: str
    content_type: str


def session(environment: dict[str, str]) -> requests.Session:
    """A session through `environment` (connection.py); one thread's at a time."""
    new = requests.Session()
    new.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity"})
    new.max_redirects = 5
    new.mount("http://", _PublicAdapter())
    new.mount("https://", _PublicAdapter())
    if environment:
        new.trust_env = False
        new.proxies = {
            "http": environment["http_proxy"],
            "https": environment["https_proxy"],
        }
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

    timeout: seconds to connect, and between two bytes. deadline: seconds for the whole body.
    retries: further attempts after a temporary failure, with growing pauses.
    """

    def attempt() -> Answer:
        body = bytearray()
        with _stream(url, session, timeout, deadline) as (response, chunks):
            for chunk in chunks:
                body += chunk
                if len(body) > max_bytes:
                    raise DownloadError(url, "too_large", f"over {max_bytes} bytes")
            return Answer(bytes(body), response.url, response.headers.get("Content-Type", ""))

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
        wait=tenacity.wait_exponential_jitter(initial=0.2, max=30),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )


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
        with _failures(url):
            # What is there, unlike iter_content, which waits for a whole chunk of single bytes.
            while chunk := response.raw.read1(CHUNK, decode_content=True):
                if end is not None and time.monotonic() > end:
                    raise DownloadError(url, "timeout", f"not complete after {deadline} s")
                yield chunk

    with _failures(url):
        response = session.get(url, stream=True, timeout=timeout, headers=headers)
    with response:
        if not response.ok:
            raise DownloadError(url, f"http_{response.status_code}")
        yield response, chunks()


@contextmanager
def _failures(url: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into a DownloadError."""
    try:
        yield
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise DownloadError(url, _reason(error), str(error)) from error
    except ValueError as error:  # requests lets a few of these through for hopeless URLs
        raise DownloadError(url, "bad_url", str(error)) from error


def _reason(error: Exception) -> str:
    known = requests.exceptions
    for kinds, reason in (
        (_PrivateAddressError, "private_address"),
        ((known.InvalidURL, known.MissingSchema, known.InvalidSchema), "bad_url"),
        (known.TooManyRedirects, "too_many_redirects"),
        (urllib3.exceptions.ProtocolError, "truncated"),
        (known.Timeout, "timeout"),
    ):
        if isinstance(error, kinds):
            return reason
    return "timeout" if "timed out" in str(error).lower() else "unreachable"


class _PrivateAddressError(urllib3.exceptions.HTTPError):
    pass


class _Public:
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


class _PublicHTTPConnection(_Public, HTTPConnection):
    pass


class _PublicHTTPSConnection(_Public, HTTPSConnection):
    pass


class _PublicHTTPPool(HTTPConnectionPool):
    ConnectionCls = _PublicHTTPConnection


class _PublicHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPSConnection


class _PublicAdapter(HTTPAdapter):
    """Direct connections are checked; a connection through a proxy is the proxy's business."""

    def init_poolmanager(self, *args, **kwargs) -> None:
        super().init_poolmanager(*args, **kwargs)
        assert isinstance(self.poolmanager, PoolManager)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _PublicHTTPPool,
            "https": _PublicHTTPSPool,
        }
