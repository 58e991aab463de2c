"""HTTP(S) requests bounded in bytes and time, and kept out of private networks.

Every download uses a `session`, including img2dataset's worker. One deadline covers the whole
exchange: connecting, redirects, heads and body. Connections go only to public addresses. The pause
that a host demands (Retry-After, RFC 9110) is observed.
"""

import errno
import http.client
import io
import logging
import math
import os
import re
import socket
import ssl
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
import tenacity
import urllib3.exceptions
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from requests.utils import resolve_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import create_urllib3_context
from urllib3.util.connection import create_connection

from countclip.runtime.files import progress
from countclip.runtime.files import sha256 as digest_of
from countclip.runtime.hosts import OPT_OUTS, is_public, retry_after
from countclip.runtime.machine import OF_CONNECTIONS, machine_error, raise_machine_error

log = logging.getLogger(__name__)

CHUNK = 1 << 16
AGENT = "countclip-workflow"
LONGEST_PAUSE = 60.0
"""Seconds. There is no retry if a host demands a longer pause (Retry-After)."""
CA_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
PROXIED = {"http", "https", "all"}
WITH_VALUE = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}
"""Directives of X-Robots-Tag with a colon, which could be mistaken for names of robots."""


class DownloadError(Exception):
    """A failed download and its reason.

    reason: one of bad_url, http_<status>, timeout, dns, tls, unreachable, private_address,
        too_many_redirects, not_allowed (X-Robots-Tag), bad_answer (no valid HTTP), too_large,
        truncated, wrong_size, wrong_sha256.
    final_url, content_type: of the response, or ''. retry_after: seconds that the host demands.
    """

    def __init__(
        self, url: str, reason: str, detail: str = "", answer: requests.Response | None = None
    ) -> None:
        self.url, self.reason, self.detail = url, reason, _shortened(detail)
        super().__init__(f"{_shortened(url)}: {reason}{f' ({self.detail})' if detail else ''}")
        headers = {} if answer is None else answer.headers
        self.final_url = "" if answer is None else answer.url
        self.content_type = headers.get("Content-Type", "")
        self.retry_after = retry_after(headers.get("Retry-After", ""))

    @property
    def temporary(self) -> bool:
        """Whether another attempt may succeed within LONGEST_PAUSE."""
        transient = ("timeout", "dns", "unreachable", "truncated", "http_429")
        return self.retry_after <= LONGEST_PAUSE and (
            self.reason in transient or self.reason.startswith("http_5")
        )


def _shortened(text: str) -> str:
    """At most 300 printable characters of a text, whole words where it has any."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return textwrap.shorten(text, 300, placeholder=" ...") if " " in text else text[:300]


OFFLINE = "this machine seems to be offline"
WHY = {
    "dns": f"the name of {{host}} is not resolved: {OFFLINE}, or the name is wrong",
    "unreachable": f"{{host}} is not reached: {OFFLINE}, or that host is",
    "timeout": f"{{host}} does not answer in time: {OFFLINE} or slow, or that host is",
    "truncated": "{host} ended before all had arrived",
    "tls": "no trusted connection to {host}: where a proxy reads TLS, name its certificates in"
    " REQUESTS_CA_BUNDLE",
    "private_address": "{host} is at a private address, which is not reached: correct the address,"
    " or the resolver of this machine",
    "bad_url": "this is no address of the web",
    **dict.fromkeys(
        ("http_301", "http_302", "http_303", "http_307", "http_308"),
        "{host} redirects to another address, which is not followed here",
    ),
    "http_401": "{host} demands a login",
    "http_403": "{host} refuses it",
    "http_404": "{host} does not have it at this address",
    "http_407": "the proxy of this machine demands a login: put it into https_proxy",
    "http_410": "{host} does not have it any more",
    "http_429": "{host} gets too many requests",
    "http_502": "{host} is not reached by the proxy of this machine, or fails",
    "http_511": "this machine is behind a page that asks it to log in",
    "wrong_size": "the file there is another one",
    "wrong_sha256": "the file there is another one",
}
"""What the reason of a failed download means, where a job depends on it."""
OF_THE_MOMENT = ("dns", "unreachable", "timeout", "truncated", "http_429", "http_511")


@contextmanager
def explained(what: str, otherwise: str) -> Iterator[None]:
    """Say in the DownloadError of a job's file what is missing, why, and what to do.

    otherwise: what to do instead of trying again, with its key of the config.
    """
    try:
        yield
    except DownloadError as error:
        host = urlsplit(error.url).hostname or error.url
        why = WHY.get(error.reason, f"{host} answers in a way that is no file")
        again = error.reason in OF_THE_MOMENT or error.reason.startswith("http_5")
        advice = "restore the network and run again (what has arrived is kept), or " * again
        code = f"{error.reason} ({error.detail})" if error.detail else error.reason
        error.args = (
            f"{what} did not arrive from {_shortened(error.url)}: {why.format(host=host)};"
            f" {advice}{otherwise} [{code}]",
        )
        raise


class Answer(NamedTuple):
    """A complete, successful response. url: after redirects. content_type: as the host claims."""

    body: bytes
    url: str
    content_type: str
    status: int


class _Session(requests.Session):
    """A session that enforces the limits of its present exchange.

    It sends no password of ~/.netrc, since the author of a link or redirect would choose the host.
    """

    allowed: Sequence[str]
    resting: dict[str, float]
    timeout = math.inf
    limit = math.inf, ""  # a time (monotonic), and the detail of the error after it
    max_bytes: int | None = None

    @contextmanager
    def within(self, seconds: float, detail: str) -> Iterator[None]:
        """Limit the time of the block; `detail` is of the error after it."""
        before = self.limit
        self.limit = min(before, (time.monotonic() + seconds, detail))
        try:
            yield
        finally:
            self.limit = before

    def patience(self) -> float:
        """Seconds that a socket may be silent from now on; _LateError after the limit."""
        end, detail = self.limit
        left = end - time.monotonic()
        if left <= 0:
            raise _LateError(detail)
        return min(self.timeout, left)

    def request(self, method: str, url: str, *, headers=None, data=None, **_) -> requests.Response:
        """Send a request of a URL, headers and data. Merging more settings, as requests does, is
        slow. Only a GET follows redirects: data and a key are for the host that a user names."""
        prepared = requests.PreparedRequest()
        headers = {**self.headers, **(headers or {})}
        prepared.prepare(method, url, headers, data=data, cookies={}, auth=lambda request: request)
        proxies = resolve_proxies(prepared, self.proxies, self.trust_env)
        follow = method == "GET"
        return self.send(prepared, stream=True, proxies=proxies, allow_redirects=follow)

    def send(self, request: requests.PreparedRequest, **kwargs) -> requests.Response:
        """Send one request of an exchange, after the pause that its host demanded."""
        host = urlsplit(request.url).netloc
        rest = self.resting.get(host, 0) - time.monotonic()
        if rest > self.limit[0] - time.monotonic():
            error = DownloadError(request.url, "http_429", "not requested")
            error.retry_after = rest
            raise error
        if rest > 0:
            time.sleep(rest)
        try:
            response = super().send(request, **kwargs | {"timeout": self.patience()})
        except _StaleError:  # with the next connection, a new one
            response = super().send(request, **kwargs | {"timeout": self.patience()})
        if response.status_code in (429, 503):
            end = time.monotonic() + retry_after(response.headers.get("Retry-After", ""))
            self.resting[host] = max(self.resting.get(host, 0), end)
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Leave the body of a redirect unread; if nothing states its length, it must end.

        A stream without end is too_large, like any other. One that falls silent is a redirect.
        """
        target = super().get_redirect_target(resp)
        if target and not resp.raw.closed:
            unframed = resp.raw.length_remaining is None and not resp.raw.chunked
            if unframed and self.max_bytes is not None:
                with suppress(urllib3.exceptions.HTTPError):
                    if len(resp.raw.read(self.max_bytes + 1)) > self.max_bytes:
                        detail = f"a redirect over {self.max_bytes} bytes"
                        raise DownloadError(resp.url, "too_large", detail, resp)
            resp.close()  # or requests would read it without bound
        return target

    def rebuild_auth(self, prepared_request, response: requests.Response) -> None:
        if self.should_strip_auth(response.request.url, prepared_request.url):
            prepared_request.headers.pop("Authorization", None)


def session(
    environment: dict[str, str],
    contact: str = "",
    *,
    allowed: Sequence[str] = (),
    resting: dict[str, float] | None = None,
) -> requests.Session:
    """Open a session on the network of `environment` (connection.py), for one thread at a time.

    environment: http_proxy and https_proxy, if any; no_proxy, hosts without proxy; CA_BUNDLES,
        files of trusted certificates. If empty, the environment of the process is used.
    contact: a page or address in the user agent, so that hosts can complain.
    allowed: private networks that may be reached, such as 10.1.0.0/16.
    resting: host -> end of its pause (monotonic); sessions may share it.
    """
    new = _Session()
    new.allowed, new.resting = allowed, {} if resting is None else resting
    agent = f"{AGENT} (+{contact})" if contact else AGENT
    new.headers.update({"User-Agent": agent, "Accept-Encoding": "identity"})
    new.max_redirects = 10
    bundles = [(environment or os.environ).get(name, "") for name in CA_BUNDLES]
    adapter = _Adapter(new, tuple(filter(os.path.exists, bundles)) or (DEFAULT_CA_BUNDLE_PATH,))
    new.mount("http://", adapter)
    new.mount("https://", adapter)
    # Looking for a proxy at each request is slow, so only where there is one.
    new.trust_env = not environment and not PROXIED.isdisjoint(getproxies())
    if environment:
        for scheme in ("http", "https"):
            new.proxies[scheme] = environment.get(f"{scheme}_proxy", "")
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
    decode: bool = True,
) -> Answer:
    """Get the body of `url`, at most `max_bytes`; DownloadError has the reason of a failure.

    timeout: seconds to connect, for the head of a response, and between two bytes of its body.
    deadline: seconds for the whole exchange, except the look-up of a name, which is libc's.
    retries: further attempts after a temporary failure, see `pause`.
    decode: undo a Content-Encoding, although no request accepts one.
    The body is not read if the host opts out (X-Robots-Tag).
    """

    def attempt() -> Answer:
        with _stream(url, session, timeout, deadline, max_bytes, decode) as (response, chunks):
            if wish := _opt_out(response.raw.headers.getlist("X-Robots-Tag")):
                raise DownloadError(url, "not_allowed", f"X-Robots-Tag: {wish}", response)
            return _whole(url, response, chunks, max_bytes)

    return retrying(retries)(attempt) if retries else attempt()


def post(
    url: str,
    data: bytes,
    *,
    session: requests.Session,
    max_bytes: int,
    headers: dict[str, str],
    timeout: float,
    retries: int = 0,
) -> Answer:
    """Post data to `url` and return the response, at most `max_bytes`; errors as `get` has them.

    A redirect is an error, http_307 for example. timeout: seconds for the whole exchange.
    """

    def attempt() -> Answer:
        with _stream(url, session, timeout, timeout, max_bytes, False, headers, data) as (
            response,
            chunks,
        ):
            return _whole(url, response, chunks, max_bytes)

    return retrying(retries)(attempt) if retries else attempt()


def _whole(
    url: str, response: requests.Response, chunks: Iterable[bytes], max_bytes: int
) -> Answer:
    """The response with its body, at most `max_bytes`."""
    body = bytearray()
    if (response.raw.length_remaining or 0) > max_bytes:
        detail = f"{response.raw.length_remaining} bytes"
        raise DownloadError(url, "too_large", detail, response)
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise DownloadError(url, "too_large", f"over {max_bytes} bytes", response)
    content_type = response.headers.get("Content-Type", "")
    return Answer(bytes(body), response.url, content_type, response.status_code)


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
    """Download `url` to `path`, which appears only after its size and sha256 are verified.

    partial: a file for the unfinished download. A killed job continues from there (HTTP Range), or
        starts anew if the server ignores ranges.
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
        sent = {**(headers or {}), **({"Range": f"bytes={done}-"} if done else {})}
        with (
            _stream(url, session, timeout, headers=sent) as (response, chunks),
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
        retrying(retries)(attempt)
        if (actual := digest_of(partial)) != sha256:
            raise DownloadError(url, "wrong_sha256", f"is {actual}, the manifest says {sha256}")
    except DownloadError as error:
        if error.reason in ("wrong_sha256", "wrong_size"):
            partial.unlink()  # it is another file: the next attempt must start anew
        raise
    os.replace(partial, path)


def retrying(retries: int) -> tenacity.Retrying:
    """Calls a function anew after a temporary DownloadError, `retries` times, with pauses."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: isinstance(e, DownloadError) and e.temporary),
        stop=tenacity.stop_after_attempt(retries + 1),
        wait=lambda state: pause(state.outcome.exception(), state.attempt_number),
        before_sleep=lambda state: _log_retry(state, retries),
        reraise=True,
    )


def _log_retry(state: tenacity.RetryCallState, retries: int) -> None:
    error = state.outcome.exception()
    log.warning(
        "%s: %s; attempt %d of %d in %.1f s",
        urlsplit(error.url).hostname, error.reason,
        state.attempt_number + 1, retries + 1, state.next_action.sleep,
    )  # fmt: skip


def pause(error: DownloadError, attempt: int) -> float:
    """Seconds until the next attempt, after failure number `attempt` (from 1).

    They grow with each failure and are at least what the host demands. A jitter, seeded by the URL
    and so the same in every run, spreads the attempts at different hosts.
    """
    jitter = Random(f"{attempt} {error.url}").uniform(0.75, 1.25)
    return max(min(0.2 * 2**attempt, 30) * jitter, error.retry_after)


def _opt_out(fields: Iterable[str]) -> str:
    """The first directive of X-Robots-Tag that applies to this program and forbids it, or ''.

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


def sendable(url: str, private_networks: Sequence[str] = ()) -> tuple[str, str | None]:
    """The URL quoted for sending, and None or the reason why it is not sent."""
    try:
        prepared = requests.Request("GET", url.strip()).prepare().url
        parts = urlsplit(prepared)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return url, "bad_url"
    except (requests.exceptions.RequestException, ValueError):
        return url, "bad_url"
    try:
        public = is_public(parts.hostname, private_networks)
    except ValueError:
        public = parts.hostname != "localhost"
    return prepared, None if public else "private_address"


@contextmanager
def _stream(
    url: str,
    session: _Session,
    timeout: float,
    deadline: float = math.inf,
    max_bytes: int | None = None,
    decode: bool = True,
    headers: dict[str, str] | None = None,
    data: bytes | None = None,
) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
    """Yield a successful response and its body in chunks; `data` is posted."""

    def chunks() -> Iterator[bytes]:
        with _download_errors(url, response):
            # Unlike iter_content, read1 does not wait for a full chunk.
            while chunk := response.raw.read1(CHUNK, decode_content=decode):
                yield chunk

    session.timeout, session.max_bytes = timeout, max_bytes
    session.cookies.clear()  # no link depends on earlier ones
    with session.within(deadline, f"not complete after {deadline} s"):
        with _download_errors(url):
            if data is None:
                response = session.get(url, headers=headers)
            else:
                response = session.post(url, data, headers=headers)
        with response:
            if not response.ok or response.is_redirect:
                code, phrase = response.status_code, response.reason or ""
                usual = phrase == http.client.responses.get(code)
                raise DownloadError(url, f"http_{code}", "" if usual else phrase, response)
            yield response, chunks()


@contextmanager
def _download_errors(url: str, answer: requests.Response | None = None) -> Iterator[None]:
    """Turn the errors of requests and urllib3 into a DownloadError."""
    try:
        yield
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise_machine_error(error, OF_CONNECTIONS)
        cause = _cause(error)
        raise DownloadError(url, _reason(error, cause), _detail(cause), answer) from error
    except ValueError as error:  # requests raises a few of these for invalid URLs
        raise DownloadError(url, "bad_url", str(error)) from error


def _cause(error: Exception) -> Exception:
    """The error of urllib3 or http.client within an error of requests, or the error itself."""
    wrapped = error.args[0] if isinstance(error, requests.RequestException) and error.args else None
    if isinstance(wrapped, urllib3.exceptions.ProtocolError):
        wrapped = wrapped.args[-1]
    cause = getattr(wrapped, "reason", None) or wrapped
    return cause if isinstance(cause, Exception) else error


def _detail(cause: Exception) -> str:
    """The text of an error, without the connection that urllib3 puts before it."""
    if isinstance(cause, urllib3.exceptions.ProxyError):
        return f"the proxy of this machine: {_detail(cause.original_error)}"
    return re.sub(r"^[\w.]+\(host=[^)]*\): ", "", str(cause))


def _reason(error: Exception, cause: Exception) -> str:
    outer, inner = requests.exceptions, urllib3.exceptions
    for kinds, reason in (
        (_PrivateAddressError, "private_address"),
        ((_LateError, outer.Timeout), "timeout"),
        ((outer.InvalidURL, outer.MissingSchema, outer.InvalidSchema), "bad_url"),
        ((inner.LocationValueError, http.client.InvalidURL), "bad_url"),
        (outer.TooManyRedirects, "too_many_redirects"),
        (inner.NameResolutionError, "dns"),
        ((outer.SSLError, inner.SSLError), "tls"),
        (inner.ProtocolError, "truncated"),
        (http.client.RemoteDisconnected, "unreachable"),  # which is an HTTPException too
        ((http.client.HTTPException, outer.InvalidHeader, inner.DecodeError), "bad_answer"),
    ):
        if isinstance(error, kinds) or isinstance(cause, kinds):
            return reason
    return "timeout" if "timed out" in str(cause).lower() else "unreachable"


class _PrivateAddressError(urllib3.exceptions.HTTPError):
    pass


class _LateError(urllib3.exceptions.HTTPError):
    pass


class _StaleError(urllib3.exceptions.HTTPError):
    """The host closed a connection that was open from an earlier request (RFC 9112, 9.3.1)."""


class _Timed(io.RawIOBase):
    """The stream of a socket (plain or TLS) within the time limit of its session.

    The timeout of a socket alone would start anew with every byte.
    """

    def __init__(self, sock: socket.socket, session: _Session) -> None:
        self.sock, self.session = sock, session
        self.raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        self.sock.settimeout(self.session.patience())
        try:
            return self.raw.readinto(buffer)
        except TimeoutError:
            self.session.patience()  # raises _LateError if it was the limit
            raise

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Connection:
    """A connection within the time limit of its session, only to public or allowed addresses.

    It connects to the very address that it has checked. So neither a redirect nor a name that
    resolves differently the next time evades the check. A proxy checks addresses itself.
    """

    def __init__(self, *args, session: _Session, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.session = session

    def _new_conn(self) -> socket.socket:
        self.responses = 0
        if self.proxy:
            return super()._new_conn()
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            _require_files()
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        addresses = [address for *_, (address, *_) in found]
        failure = _PrivateAddressError(f"{self.host} is at {addresses[0]}, not a public address")
        for address in addresses:
            if is_public(address, self.session.allowed):
                try:
                    sock = create_connection(
                        (address, self.port),
                        self.session.patience(),
                        socket_options=self.socket_options,
                    )
                    sock.settimeout(self.session.patience())  # the rest is for TLS
                    return sock
                except OSError as error:
                    failure = urllib3.exceptions.NewConnectionError(self, str(error))
                    # To port 0, or without IPv6, no address can be assigned either.
                    if error.errno != errno.EADDRNOTAVAIL or (self.port and ":" not in address):
                        failure.__cause__ = machine_error(error, OF_CONNECTIONS)
        raise failure

    def getresponse(self) -> urllib3.HTTPResponse:
        """Read the head of a response, which must be complete within the timeout."""
        try:
            with self.session.within(self.timeout, "no whole head of a response"):
                response = super().getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError) as error:
            raise _StaleError(str(error)) if self.responses else error from error
        self.responses += 1
        return response

    def response_class(self, sock: socket.socket, *args, **kwargs) -> http.client.HTTPResponse:
        received = io.BufferedReader(_Timed(sock, self.session))
        return http.client.HTTPResponse(
            SimpleNamespace(makefile=lambda _: received), *args, **kwargs
        )


def _require_files() -> None:
    """Raise OSError if a look-up of a name had no files left, which libc reports as no name."""
    files = []
    try:
        for _ in range(4):
            files.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for file in files:
            os.close(file)


class _HTTP(_Connection, HTTPConnection):
    pass


class _HTTPS(_Connection, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """An adapter with the limits of `_Connection`.

    It keeps few connections open, since the links of a session are all at one host or each at
    another one.
    """

    def __init__(self, session: _Session, bundles: tuple[str, ...]) -> None:
        super().__init__(pool_connections=4, pool_maxsize=1)
        self.session, self.tls = session, _trust(bundles)

    def get_connection_with_tls_context(self, *args, **kwargs) -> urllib3.HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        kind = _HTTPS if pool.scheme == "https" else _HTTP
        pool.ConnectionCls = partial(kind, session=self.session)
        return pool

    def build_connection_pool_key_attributes(self, *args) -> tuple[dict, dict]:
        host, _ = super().build_connection_pool_key_attributes(*args)
        return host, {"ssl_context": self.tls} if host["scheme"] == "https" else {}

    def cert_verify(self, *_) -> None:
        """Do nothing: requests would read the certificates anew for each connection."""


@cache
def _trust(bundles: tuple[str, ...]) -> ssl.SSLContext:
    """A TLS context with files or folders of certificates; cached, since reading takes 30 ms."""
    context = create_urllib3_context()
    for bundle in bundles:
        context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
    return context
