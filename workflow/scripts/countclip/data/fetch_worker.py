"""img2dataset in a subprocess, with a network, a resizer and processes of our own.

By itself img2dataset opens any kind of URL on any host, reads without bound, decodes before it
looks at the size, and hangs when a process of its pool dies. fetch.py runs this module as a command
(`python -m`). Errors raised here begin with a status of `fetch.STATUSES`.
"""

import ctypes
import http.client
import io
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import ssl
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from PIL import Image, ImageOps

from countclip.data.images import Unusable, decode
from countclip.runtime.hosts import OPT_OUTS, is_public, retry_after

CHUNK = 1 << 16
_PR_SET_PDEATHSIG = 1


# ---- the opener: http(s) only, to public addresses only, so many bytes, until a deadline ----


def _patience(timeout: float, end: float) -> float:
    """Seconds that a socket may be silent, the deadline `end` in mind."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("timeout: the deadline has passed")
    return min(timeout, left)


class _Timed(io.RawIOBase):
    """What a socket (plain or TLS) receives until `end`, however slowly it drips."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self.sock, self.end, self.timeout = sock, end, sock.gettimeout()
        self.raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        self.sock.settimeout(_patience(self.timeout, self.end))
        return self.raw.readinto(buffer)

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Connection:
    """Connects to addresses that pass `may_reach` alone, and is done with at `end`.

    The address that is checked is the one that is connected to, so no redirect and no name that
    resolves differently the next time gets around it.
    """

    def __init__(self, *args, end: float, may_reach, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.end, self.may_reach = end, may_reach
        self._create_connection = self._connect  # what http.client connects by
        self.response_class = self._response

    def _connect(self, address, timeout, _source=None) -> socket.socket:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        targets = [entry for entry in found if self.may_reach(entry[4][0])]
        failure = URLError(f"private_address: {address[0]} is at {found[0][4][0]}")
        for family, kind, protocol, _, target in targets:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(_patience(timeout, self.end))
                sock.connect(target)
                sock.settimeout(_patience(timeout, self.end))  # what remains, for TLS
                return sock
            except OSError as error:
                sock.close()
                failure = error
        raise failure

    def _response(self, sock, **kwargs) -> http.client.HTTPResponse:
        reader = SimpleNamespace(makefile=lambda _: io.BufferedReader(_Timed(sock, self.end)))
        return http.client.HTTPResponse(reader, **kwargs)


class _HTTP(_Connection, http.client.HTTPConnection):
    pass


class _HTTPS(_Connection, http.client.HTTPSConnection):
    pass


class _Bounded(urllib.request.AbstractHTTPHandler):
    """Exchanges whose answer can be read up to a size, until a deadline that covers all of it:
    connections, redirects, headers and body (but not the look-up of a name, which is libc's)."""

    def __init__(self, max_bytes: int, deadline: float, private_networks: list[str]) -> None:
        super().__init__()
        self.max_bytes, self.deadline = max_bytes, deadline
        self.may_reach = partial(is_public, allowed=private_networks)
        self.tls = ssl.create_default_context()  # once: it reads a file of certificates
        self.resting: dict[str, float] = {}  # host -> when it may be asked again

    def http_request(self, request):
        if not hasattr(request, "end"):  # which a redirect hands on
            request.end = time.monotonic() + self.deadline
        rest = self.resting.get(request.host, 0) - time.monotonic()
        if rest > 0:
            if time.monotonic() + rest > request.end:
                raise URLError(f"http_429: not asked, retry after {rest:.0f} s")
            time.sleep(rest)
        return self.do_request_(request)

    def http_open(self, request):
        return self._open(_HTTP, request)

    def https_open(self, request):
        return self._open(partial(_HTTPS, context=self.tls), request)

    def _open(self, kind, request):
        # Asked of each request: no_proxy, or a proxy for one scheme alone, leaves some direct.
        proxied = request.has_proxy() or request._tunnel_host
        may_reach = (lambda _: True) if proxied else self.may_reach
        try:
            return self.do_open(partial(kind, end=request.end, may_reach=may_reach), request)
        except (http.client.RemoteDisconnected, http.client.InvalidURL):
            raise
        except http.client.HTTPException as error:  # whose message may be the server's words
            raise URLError(f"bad_answer: {error!r:.200}") from error

    def http_response(self, request, response):
        response.read = partial(self._read, response)  # also what the redirect handler reads by
        return response

    https_request, https_response = http_request, http_response

    def _read(self, response) -> bytes:
        body = bytearray()
        if (response.length or 0) > self.max_bytes:
            raise URLError(f"too_large: {response.length} bytes")
        while chunk := response.read1(CHUNK):  # what is there: read(n) waits for n bytes
            body += chunk
            if len(body) > self.max_bytes:
                raise URLError(f"too_large: over {self.max_bytes} bytes")
        if response.length:  # read1 does not mind when the connection ends too early
            raise URLError(f"truncated: {response.length} bytes are missing")
        return bytes(body)

    def http_error_429(self, request, fp, code, message, headers):
        """A host that asks for patience gets it, as far as the deadlines of its pictures allow."""
        seconds = retry_after(headers.get("Retry-After", ""))
        host = urlsplit(request.full_url).netloc
        self.resting[host] = max(self.resting.get(host, 0), time.monotonic() + seconds)
        message = f"{message}, retry after {seconds:.0f} s"
        raise HTTPError(request.full_url, code, message, headers, fp)

    http_error_503 = http_error_429


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, *args):
        new = super().redirect_request(request, *args)
        new.end = request.end
        return new


def opener(
    max_bytes: int, deadline: float, private_networks: list[str]
) -> urllib.request.OpenerDirector:
    """An opener for http(s) alone: no file:, ftp: or data:, whatever a redirect says.

    Through a proxy (http_proxy), which addresses may be reached is the proxy's business.
    """
    known = urllib.request.getproxies()
    proxies = {scheme: known[scheme] for scheme in ("http", "https") if scheme in known}
    made = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
        _Bounded(max_bytes, deadline, private_networks),
    ):
        made.add_handler(handler)
    return made


# ---- the resizer: what is kept is what `images.decode` can read again ----


class Resizer:
    """Called as img2dataset's own, whose modes it has.

    It looks at the size before it decodes, turns pictures as their EXIF says, and refuses broken
    files. A picture that needs neither another size nor another format keeps its bytes.
    """

    SIGNATURES = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG", "webp": b"RIFF"}

    def __init__(
        self,
        image_size: int,
        resize_mode: str,
        encode_format: str,
        encode_quality: int,
        max_pixels: int,
        seconds: float,
    ) -> None:
        """seconds: for decoding one picture; a small file can be made to take hours."""
        self.side, self.mode, self.max_pixels = image_size, resize_mode, max_pixels
        self.format, self.quality, self.seconds = encode_format, encode_quality, seconds

    def __call__(self, stream: io.BytesIO, _blurred: Any = None) -> tuple:
        """(file, width, height, original width, original height, None), or why there is none."""
        body = stream.getvalue()
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            image = decode(body, self.max_pixels)
            kept = self._resized(image)
            if kept is not image or not body.startswith(self.SIGNATURES[self.format]):
                body = self._encoded(kept)
            return body, *kept.size, *image.size, None
        except Exception as error:  # Pillow raises nearly anything on hostile pictures
            known = isinstance(error, Unusable)
            return None, None, None, None, None, str(error) if known else f"undecodable ({error})"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _resized(self, image: Image.Image) -> Image.Image:
        resize, measured = {
            "no": (None, min),
            "keep_ratio": (ImageOps.cover, min),
            "keep_ratio_largest": (ImageOps.contain, max),
            "center_crop": (ImageOps.fit, min),
            "border": (partial(ImageOps.pad, color="white"), max),
        }[self.mode]
        if resize is None or measured(image.size) <= self.side:
            return image
        return resize(image, (self.side, self.side))

    def _encoded(self, image: Image.Image) -> bytes:
        kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[self.format]
        quality = {"compress_level" if kind == "PNG" else "quality": self.quality}
        file = io.BytesIO()
        image.save(file, kind, **quality)
        return file.getvalue()


def _out_of_time(*_) -> None:
    raise TimeoutError("it takes too long")


# ---- the processes ----


def _end_with_parent(parent: int) -> None:
    """Go at once when the job is killed: without it (and its connection) every URL would seem
    dead, and be noted so; and a second job would meet the first one's remains."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before we asked
        os._exit(1)


def _one_shard(downloader: Any, shard: tuple[int, str], parent: int) -> None:
    _end_with_parent(parent)
    downloader(shard)  # prints why, if it fails


def run(
    urls: str,
    output: str,
    parent: int,
    *,
    agent: str,
    shard_rows: int,
    connections: int,
    processes: int,
    images: dict[str, Any],
) -> None:
    """Fetch the shards that have no `_stats.json` yet, each in a process of its own.

    Whatever a shard's process does, run out of memory or crash on a picture, the others go on; and
    none lives long enough to grow. images: as `fetch.fetch_images` has it.
    """
    _end_with_parent(parent)
    for name in ("wandb", "albumentations"):  # slow to import, and of no use here
        sys.modules[name] = ModuleType(name)
    sys.modules["torch"] = None  # webdataset does without
    from img2dataset.downloader import Downloader
    from img2dataset.reader import Reader
    from img2dataset.writer import WebDatasetSampleWriter

    urllib.request.install_opener(
        opener(images["max_bytes"], images["deadline"], images["private_networks"])
    )
    done = {int(path.name.split("_")[0]) for path in Path(output).glob("*_stats.json")}
    temporary = Path(output, "_tmp")
    temporary.mkdir(exist_ok=True)
    reader = Reader(
        urls, "parquet", "url", None, None, None, ["row"], shard_rows, done,
        str(temporary),
    )  # fmt: skip
    downloader = Downloader(
        WebDatasetSampleWriter,
        Resizer(
            images["image_size"], images["resize_mode"], images["encode_format"],
            images["encode_quality"], images["max_pixels"], images["deadline"],
        ),
        thread_count=connections,
        save_caption=False,
        extract_exif=False,
        output_folder=output,
        column_list=reader.column_list,
        timeout=images["timeout"],
        number_sample_per_shard=shard_rows,
        oom_shard_count=5,
        compute_hash="sha256",
        verify_hash_type=None,
        encode_format=images["encode_format"],
        retries=0,
        user_agent_token=agent,
        disallowed_header_directives=list(OPT_OUTS),
    )  # fmt: skip
    fork = multiprocessing.get_context("fork")  # nothing is imported again
    running = {}
    for shard in list(reader):
        while len(running) == processes:
            for sentinel in multiprocessing.connection.wait(running):
                running.pop(sentinel).join()
        process = fork.Process(target=_one_shard, args=(downloader, shard, os.getpid()))
        process.start()
        running[process.sentinel] = process
    for process in running.values():
        process.join()


if __name__ == "__main__":
    run(**json.loads(sys.argv[1]))
