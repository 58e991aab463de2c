"""A stand-in for the internet: a proxy that answers for every host of a list, as planned.

Hosts with https get certificates of an authority of the tests' own; names that are to be unknown
bypass the proxy and meet a resolver that does not know them.
"""

import io
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import requests
import trustme
from PIL import Image

import loopback

# How many rows of the list shall have a status; the others are alive.
FATES = {
    "moved": 20, "changed": 8, "re-encoded": 12, "placeholder": 14, "too_small": 6,
    "undecodable": 8, "not_an_image": 12, "dead": 30, "forbidden": 10, "not_allowed": 6,
    "server_error": 8, "timeout": 6, "dns": 8, "tls": 6, "unreachable": 8,
}  # fmt: skip
CODES = {
    "dead": (404, 410),
    "forbidden": (401, 403, 451),
    "server_error": (500, 503, 429),
}
PAGE = b"<!DOCTYPE html><title>Shop</title><p>Two for one!</p>"


class Fate(NamedTuple):
    """What shall become of a link, what its host does, and after how many seconds."""

    status: str
    number: int
    delay: float


def plan(urls: list[str], seed: int = 0, delay: float = 0.0) -> dict[str, Fate]:
    """URL -> its fate. A name, a certificate and the way to it are a host's, so only hosts with one
    URL lose these.

    delay: mean seconds of an answer; the single ones lie within a fourth of it.
    """
    chance = Random(seed)
    by_host: dict[str, list[str]] = {}
    for url in dict.fromkeys(urls):
        by_host.setdefault(host_of(url), []).append(url)
    left = list(dict.fromkeys(urls))
    chance.shuffle(left)
    fates = {}
    of_a_host = ("dns", "tls", "unreachable")
    for status in sorted(FATES, key=lambda name: name not in of_a_host):  # the choosy ones first
        for number in range(FATES[status]):
            url = next(
                url
                for url in left
                if (status not in of_a_host or len(by_host[host_of(url)]) == 1)
                and (status != "tls" or url.startswith("https:"))
            )
            left.remove(url)
            fates[url] = status, number
    return {
        url: Fate(*fates.get(url, ("alive", 0)), delay * chance.uniform(0.75, 1.25)) for url in urls
    }


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def asked(url: str) -> str:
    """The URL as a client sends it."""
    return requests.Request("GET", url).prepare().url.partition("#")[0]


def picture(number: int, quality: int = 90, size: tuple[int, int] = (240, 180)) -> bytes:
    """A picture unlike all others as a JPEG file."""
    coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(
        stream, "JPEG", quality=quality
    )
    return stream.getvalue()


@contextmanager
def internet(plan: dict[str, Fate], folder: Path) -> Iterator[dict[str, str]]:
    """Answer for the URLs of a plan while the block runs; yields the environment for a session."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    names = sorted({host_of(url) for url in plan})
    server = loopback.Server(_Handler, stop=threading.Event())
    server.answers = {asked(url): (n, fate) for n, (url, fate) in enumerate(plan.items())}
    server.untrusted = {host_of(url) for url, fate in plan.items() if fate.status == "tls"}
    server.refused = {
        host_of(url)
        for url, fate in plan.items()
        if fate.status == "unreachable" and fate.number % 2
    }
    server.contexts = {}
    for trusted, hosts in ((True, names), (False, ["somebody.else.example"])):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*hosts).configure_cert(context)
        server.contexts[trusted] = context
    unknown = {host_of(url) for url, fate in plan.items() if fate.status == "dns"}
    resolve = socket.getaddrinfo

    def resolver(host, *args, **kwargs):
        if host in unknown:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    socket.getaddrinfo = resolver
    try:
        with loopback.serving(server):
            yield {
                "http_proxy": server.url,
                "https_proxy": server.url,
                "no_proxy": ",".join(sorted(unknown)),
                "REQUESTS_CA_BUNDLE": str(folder / "authority.pem"),
            }
    finally:
        socket.getaddrinfo = resolve
        server.stop.set()


class _Handler(loopback.Handler):
    site = ""

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        if host in self.server.refused:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        context = self.server.contexts[host not in self.server.untrusted]
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = io.BufferedWriter(self.connection.makefile("wb", buffering=0))
        self.site = f"https://{host}"
        self.close_connection = False

    def do_GET(self) -> None:
        with suppress(OSError):
            self._answer()
            self.wfile.flush()

    def _answer(self) -> None:
        url = self.site + self.path
        site = self.site or f"http://{urlsplit(url).netloc}"
        if url.startswith(f"{site}/elsewhere/"):
            return self.send(200, picture(int(url.rpartition("/")[2].split(".")[0])))
        number, (status, n, delay) = self.server.answers[url]
        if self.server.stop.wait(600 if status == "timeout" else delay) or status == "unreachable":
            self.close_connection = True
        elif status in CODES:
            self.send(CODES[status][n % len(CODES[status])], PAGE, "text/html")
        elif status == "not_an_image":
            self.send(200, PAGE, "text/html")
        elif status == "moved" or (status == "placeholder" and n % 3 == 0):
            name = "image_not_available" if status == "placeholder" else "moved"
            self.send(302, PAGE, Location=f"/elsewhere/{name}/{number}.jpg")
        elif status == "placeholder":  # the same for many, or flat
            flat = io.BytesIO()
            Image.new("RGB", (200, 200 + n), "white").save(flat, "PNG")
            self.send(200, picture(999_999) if n % 3 == 1 else flat.getvalue())
        elif status == "too_small":
            self.send(200, picture(number, size=(120, 20)))
        elif status == "undecodable":
            body = picture(number)
            self.send(200, body[: len(body) // 2])
        elif status == "not_allowed":
            self.send(200, picture(number), X_Robots_Tag="noai, noimageai")
        else:
            self.send(200, picture(number, 60 if status == "re-encoded" else 90))
