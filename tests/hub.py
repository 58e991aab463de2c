"""A small hub over real HTTP, as a proxy that speaks for two hosts: hub.example and cdn.example.

As on the real one, the hub answers questions about a data set and redirects downloads to another
host, by addresses that need no token.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import loopback

ENDPOINT = "http://hub.example"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_good"
NARROW = "hf_narrow"  # of somebody who has not accepted the terms


@dataclass
class Hub:
    """Files by path, how the hub behaves, and what it was asked."""

    files: dict[str, bytes]
    repository: str = "laion/relaion400m"
    kind: str = "datasets"  # or models, whose pages stand at the top
    gated: bool = False
    branches: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    cuts: int = 0  # so many downloads end in the middle
    lies: bool = False  # the other host serves other bytes of the same length
    pause: float = 0.0  # seconds after each `chunk` of a download
    chunk: int = 1 << 16
    environment: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, str | None]] = field(default_factory=list)

    @property
    def page(self) -> str:
        return f"/{self.repository}" if self.kind == "models" else f"/datasets/{self.repository}"

    def asked(self, host: str) -> list[dict[str, str | None]]:
        return [request for request in self.requests if request["host"] == host]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve while the block runs; `hub.environment` leads there."""
    with loopback.serving(loopback.Server(_Handler, hub=hub)) as server:
        hub.environment = {"http_proxy": server.url, "https_proxy": server.url, "no_proxy": ""}
        yield hub


class _Handler(loopback.Handler):
    @property
    def hub(self) -> Hub:
        return self.server.hub

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self.hub.requests.append(
            {
                "host": address.hostname,
                "path": address.path,
                "range": self.headers.get("Range"),
                "authorization": self.headers.get("Authorization"),
            }
        )
        with suppress(OSError):  # a client that was killed
            if address.hostname == "cdn.example":
                self._file(unquote(address.path).removeprefix("/blob/"))
            elif address.hostname == "hub.example" and not self._refused():
                self._hub(unquote(address.path))
            elif address.hostname != "hub.example":
                self.send(502, b"no such host")

    def _refused(self) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.hub.gated or token == TOKEN:
            return False
        self.send(403 if token == NARROW else 401, b"{}", X_Error_Code="GatedRepo")
        return True

    def _hub(self, path: str) -> None:
        about_it = rf"/api/{self.hub.kind}/{self.hub.repository}(?:/revision/(.+))?"
        question = re.fullmatch(about_it, path)
        file = re.fullmatch(rf"{self.hub.page}/resolve/{COMMIT}/(.+)", path)
        if question and (commit := self.hub.branches.get(question[1] or "main")):
            about = {"id": self.hub.repository, "sha": commit, "gated": self.hub.gated}
            body = json.dumps(about | {"siblings": self._siblings()}).encode()
            self.send(200, body, "application/json")
        elif file and file[1] in self.hub.files:
            self.send(302, b"", Location=f"http://cdn.example/blob/{file[1]}?signed=yes")
        else:
            self.send(404, b"{}", X_Error_Code="RevisionNotFound")

    def _siblings(self) -> list[dict]:
        return [
            {
                "rfilename": path,
                "size": len(body),
                "blobId": "0" * 40,
                "lfs": {
                    "sha256": hashlib.sha256(body).hexdigest(),
                    "size": len(body),
                    "pointerSize": 134,
                },
            }
            for path, body in self.hub.files.items()
        ]

    def _file(self, path: str) -> None:
        if (body := self.hub.files.get(path)) is None:
            return self.send(404, b"")
        body = bytes(len(body)) if self.hub.lies else body
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = len(body)
        if self.hub.cuts:
            self.hub.cuts -= 1
            end = (start + end) // 2
            self.close_connection = True
        for place in range(start, end, self.hub.chunk):
            self.wfile.write(body[place : min(place + self.hub.chunk, end)])
            time.sleep(self.hub.pause)
