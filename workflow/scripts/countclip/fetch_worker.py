"""What does img2dataset do to the network? This: bounded, over http(s), to public addresses only.

img2dataset opens any kind of URL on any host and reads without bound. `fetch` runs it through this
module (`python -m countclip.fetch_worker`), which installs an opener of its own first, in each of
its processes. Errors that the opener raises begin with a status of `fetch.STATUSES`.
"""

import ctypes
import http.client
import os
import signal
import socket
import sys
import time
import urllib.request
from functools import partial
from urllib.error import URLError

from countclip.addresses import is_public

CHUNK = 1 << 16
_PR_SET_PDEATHSIG = 1


class _Public:
    """Checks the address that was really connected to, after redirects and name resolution, and
    before a byte is sent."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = self._connect  # what http.client connects by

    def _connect(self, *args) -> socket.socket:
        sock = socket.create_connection(*args)
        address = sock.getpeername()[0]
        if not is_public(address):
            sock.close()
            raise URLError(f"private_address: {self.host} is at {address}")
        return sock


class _PublicHTTP(_Public, http.client.HTTPConnection):
    pass


class _PublicHTTPS(_Public, http.client.HTTPSConnection):
    pass


def _through_proxy(request: urllib.request.Request) -> bool:
    """Asked of each request: no_proxy, or a proxy for one scheme alone, leaves some direct."""
    return bool(request.has_proxy() or request._tunnel_host)


class _HTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, request):
        if _through_proxy(request):
            return super().http_open(request)
        return self.do_open(_PublicHTTP, request)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, request):
        if _through_proxy(request):
            return super().https_open(request)
        return self.do_open(_PublicHTTPS, request)


class _Bounded(urllib.request.BaseHandler):
    """Answers that can only be read up to a size and until a deadline."""

    handler_order = 2000  # after redirects and errors

    def __init__(self, max_bytes: int, deadline: float) -> None:
        self.max_bytes, self.deadline = max_bytes, deadline

    def http_response(self, request, response):
        if not isinstance(response.read, partial):  # the answer after a redirect comes by twice
            response.read = partial(self._read, response)
        return response

    https_response = http_response

    def _read(self, response) -> bytes:
        end = time.monotonic() + self.deadline
        body = bytearray()
        while chunk := response.read1(CHUNK):  # what is there: read(n) waits for n bytes
            body += chunk
            if len(body) > self.max_bytes:
                raise URLError(f"too_large: over {self.max_bytes} bytes")
            if time.monotonic() > end:
                raise URLError(f"timeout: not complete after {self.deadline} s")
        if response.length:  # read1 does not mind when the connection ends too early
            raise URLError(f"truncated: {response.length} bytes are missing")
        return bytes(body)


def opener(max_bytes: int, deadline: float) -> urllib.request.OpenerDirector:
    """An opener for http(s) alone: no file:, ftp: or data:, whatever a redirect says.

    Through a proxy (http_proxy), which addresses may be reached is the proxy's business.
    """
    known = urllib.request.getproxies()
    proxies = {scheme: known[scheme] for scheme in ("http", "https") if scheme in known}
    made = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.UnknownHandler(),
        _HTTPHandler(),
        _HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Bounded(max_bytes, deadline),
    ):
        made.add_handler(handler)
    return made


def _end_with_parent() -> None:
    """Go at once when the job is killed: without it (and its connection) every URL would seem
    dead, and be noted so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ in ("__main__", "__mp_main__"):  # also in the processes that img2dataset spawns
    _end_with_parent()
    sys.modules["torch"] = None  # webdataset does without, and each process starts 2 s sooner
    urllib.request.install_opener(
        opener(int(os.environ["FETCH_MAX_BYTES"]), float(os.environ["FETCH_DEADLINE"]))
    )

if __name__ == "__main__":
    import json

    from img2dataset import download

    download(**json.loads(sys.argv[1]))
