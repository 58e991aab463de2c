"""The miniature's server: a loopback HTTP proxy that answers from the table of the world.

`python -m miniature.server WORLD` prints its port and ends when its stdin does. It draws images on
demand and has planned faults: the same request always gets the same answer. It answers only for
*.miniature.example and forwards nothing.
"""

import io
import json
import re
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from miniature import scenes

DOMAIN = ".miniature.example"
SILENCE = 90  # seconds until a slow answer fails, longer than any client should wait
PAGE = b"<!DOCTYPE html><title>Gone fishing</title><p>This picture has moved. <b>Buy two!</b></p>"


def serve(world: str | Path) -> None:
    """Print the port, then answer for the table `world` until stdin ends."""
    table = pq.ParquetFile(world).read(["url", "kind", "payload"]).to_pylist()
    answers = {unquote(row["url"]): (row["kind"], json.loads(row["payload"])) for row in table}
    server = _Server(("127.0.0.1", 0), partial(_Handler, answers, Path(world).parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address) -> None:
        pass  # a client closed its connection


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    # An image is one small packet; waiting to fill it (Nagle) would take 40 ms each.
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(self, answers: dict, folder: Path, *args) -> None:
        self.answers, self.folder = answers, folder
        super().__init__(*args)

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        host = urlsplit(self.path).hostname or ""
        if not host.endswith(DOMAIN):
            return self._refuse(host)
        kind, payload = self.answers.get(unquote(self.path), ("status", {"status": 404}))
        return getattr(self, f"_{kind}")(**payload)

    def do_CONNECT(self) -> None:
        self._refuse(urlsplit(f"//{self.path}").hostname or "")

    def _refuse(self, host: str) -> None:
        """Say why there is no such host, in the status line, which an error quotes."""
        self.close_connection = True
        self.send_error(502, f"the miniature has no host {host[:100]!r}, set network internet")

    def _send(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        standard = {"Content_Type": content_type, "Content_Length": str(len(body))}
        for name, value in {**standard, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _scene(self, stream: str, index: int, number: int, type: str = "", **headers: str) -> None:
        """A drawn image; `type` is a false content type."""
        png = self.path.endswith(".png")
        body = image(stream, index, number, "PNG" if png else "JPEG")
        self._send(200, body, type or ("image/png" if png else "image/jpeg"), **headers)

    def _truncated(self, stream: str, index: int, number: int) -> None:
        """Half of a file, in an otherwise valid response."""
        body = image(stream, index, number, "JPEG")
        self._send(200, body[: len(body) // 2], "image/jpeg")

    def _cut_off(self, stream: str, index: int, number: int) -> None:
        """A response that ends before its announced length."""
        body = image(stream, index, number, "JPEG")
        length = str(len(body) + 1)
        self._send(200, body[: len(body) // 2], "image/jpeg", Content_Length=length)
        self.close_connection = True

    def _placeholder(self) -> None:
        self._send(200, placeholder(), "image/png")

    def _html(self) -> None:
        self._send(200, PAGE, "text/html; charset=utf-8")

    def _status(self, status: int) -> None:
        self._send(status, PAGE, "text/html; charset=utf-8")

    def _redirect(self, location: str) -> None:
        self._send(302, b"", "text/plain", Location=location)

    def _slow(self) -> None:
        time.sleep(SILENCE)
        self.close_connection = True

    def _file(self, path: str) -> None:
        """A file beside the world's table, whole or from the byte that Range asks for."""
        body = (self.folder / path).read_bytes()
        requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(requested[1]) if requested else 0
        if not requested:
            self._send(200, body, "application/octet-stream", Accept_Ranges="bytes")
        elif start < len(body):
            span = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._send(206, body[start:], "application/octet-stream", Content_Range=span)
        else:
            self._send(416, b"", "text/plain", Content_Range=f"bytes */{len(body)}")


def image(stream: str, index: int, number: int, kind: str) -> bytes:
    """A scene as a PNG or JPEG file."""
    buffer = io.BytesIO()
    scenes.draw(scenes.make(stream, index, number)).save(buffer, kind, quality=90)
    return buffer.getvalue()


def placeholder() -> bytes:
    """The image that a host serves instead of one that it no longer has."""
    drawn = Image.new("RGB", (scenes.SIZE, scenes.SIZE), (222, 222, 222))
    ImageDraw.Draw(drawn).text((20, 56), "image not available", (120, 120, 120))
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    serve(sys.argv[1])
