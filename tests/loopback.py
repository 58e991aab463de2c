"""Servers on the loopback interface that answer as a test plans it, over real HTTP."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Gives its server's `answer`."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        with suppress(OSError):  # the client hangs up, as it should
            self.server.answer(self)

    def log_message(self, *args) -> None:
        pass

    def send(self, status: int, body: bytes, kind: str = "image/jpeg", **headers: object) -> None:
        """A whole answer; an underscore in a header's name stands for a hyphen."""
        self.send_response(status)
        standard = {"Content_Type": kind, "Content_Length": len(body)}
        for name, value in {**standard, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """known: what its handlers look up, such as `answer`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handler: type = Handler, address: str = "127.0.0.1", **known: Any) -> None:
        super().__init__((address, 0), handler)
        vars(self).update(known)
        self.url = f"http://{address}:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        pass  # a client went away


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server while the block runs."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
