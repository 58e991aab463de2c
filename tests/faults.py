"""An image host on the loopback interface that does everything wrong, over real HTTP(S)."""

import gzip
import io
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, repeat

from PIL import Image, ImageDraw

import loopback
from loopback import Answer, serving

PERIOD = 0.05  # seconds between two pieces of an answer that drips


class Handler(loopback.Handler):
    """Answers by the server's table: path -> Answer."""

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append(self.path)
        with suppress(OSError):  # the client hangs up, as it should
            self.server.answers[self.path](self)


class Server(loopback.Server):
    """Counts how many `connected`."""

    connected = 0

    def get_request(self):
        found = super().get_request()
        self.connected += 1
        return found


@contextmanager
def host(
    answers: dict[str, Answer], address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """A server while the block runs, with its `url`, the paths `asked` and how many `connected`."""
    server = Server(Handler, address, answers=answers, asked=[])
    if tls:
        server.url = server.url.replace("http:", "https:")
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    with serving(server):
        yield server


# ---- images ----


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """A red corner at the top left of a white image."""
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).rectangle((0, 0, width // 3, height // 3), fill="red")
    return image


def file(kind: str = "JPEG", image: Image.Image | None = None, **options) -> bytes:
    body = io.BytesIO()
    (image or scene()).save(body, kind, **options)
    return body.getvalue()


def rotated(kind: str) -> bytes:
    """An image that lies on its side, and says so in its EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise shows it upright
    return file(kind, scene().rotate(90, expand=True), exif=exif)


def bomb(side: int = 50_000) -> bytes:
    """The PNG of a black square, whose 2.5 GB are a few kilobytes here (the data end early)."""
    data = zlib.compress(bytes(1_000_000))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", data)]
    packed = [
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def endless_scans(times: int = 4000, side: int = 4000) -> bytes:
    """A small JPEG whose last scan comes again and again: each pass walks the whole image."""
    body = file(image=Image.new("L", (side, side)), progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * times + body[-2:]


# ---- answers ----


def send(body: bytes, content_type: str = "image/jpeg", status: int = 200, **headers) -> Answer:
    return lambda handler: handler.send(status, body, content_type, **headers)


def redirect(location: str) -> Answer:
    return send(b"", status=302, Location=location)


def raw(*pieces: bytes, then: Iterator[bytes] | tuple = (), pause: float = 0) -> Answer:
    """Bytes as they are, valid HTTP or not; what comes `then` comes as long as anybody listens."""

    def answer(handler: Handler) -> None:
        for piece in pieces:
            handler.wfile.write(piece)
        for piece in then:
            handler.wfile.write(piece)
            time.sleep(pause)

    return answer


def reset(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def once(first: Answer, later: Answer) -> Answer:
    """Another answer from the second request on."""
    asked = count()
    return lambda handler: (first if next(asked) == 0 else later)(handler)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
PAGE = b"<!DOCTYPE html><title>Gone fishing</title><p>This picture has moved."
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'
LIES = b"HTTP/1.1 302 Found\r\nLocation: /picture.jpg\r\n\r\n"
CHUNK = b"10000\r\n" + bytes(0x10000) + b"\r\n"


def slow_answers() -> dict[str, Answer]:
    """path -> an answer that never ends, or never begins. What waits for it waits in vain."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    endless = {
        "/drip_body": (HEAD + b"\r\n", b"x"),
        "/drip_header": (HEAD + b"X: ", b"x"),
        "/drip_continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "/drip_chunk": (chunked, b"1"),
        "/drip_trailer": (chunked + b"0\r\n", b"X: y\r\n"),
    }
    return {"/silent": lambda handler: time.sleep(60)} | {
        path: raw(head, then=repeat(piece), pause=PERIOD) for path, (head, piece) in endless.items()
    }


def answers() -> dict[str, tuple[Answer, str]]:
    """path -> (how it is answered, the status that a fetch must give it). None depends on how fast
    the machine is."""
    jpeg, gif = file(), file("GIF", save_all=True, append_images=[scene(60, 40)], duration=50)
    return {
        "/picture.jpg": (send(jpeg), "ok"),
        "/picture_as_html": (send(jpeg, "text/html"), "ok"),
        "/other_bots_stay_out": (send(jpeg, X_Robots_Tag="somebot: noai"), "ok"),
        "/animated.gif": (send(gif, "image/gif"), "ok"),
        "/cmyk.jpg": (send(file(image=scene().convert("CMYK"))), "ok"),
        "/rotated.jpg": (send(rotated("JPEG")), "ok"),
        "/rotated.webp": (send(rotated("WEBP")), "ok"),
        "/deep.png": (send(file("PNG", Image.new("I;16", (60, 40), 0x4000))), "ok"),
        "/transparent.png": (send(file("PNG", Image.new("RGBA", (60, 40)))), "ok"),
        "/moved": (redirect("/picture.jpg"), "ok"),
        "/fails_once": (once(send(PAGE, status=503), send(jpeg)), "ok"),
        # not what it says
        "/html_as_jpeg": (send(PAGE), "not_an_image"),
        "/html": (send(PAGE, "text/html"), "not_an_image"),
        "/svg": (send(SVG, "image/svg+xml"), "not_an_image"),
        "/empty": (send(b""), "not_an_image"),
        "/half.jpg": (send(jpeg[: len(jpeg) // 2]), "undecodable"),
        "/gzip_bomb": (
            send(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip"),
            "not_an_image",
        ),
        # too much
        "/bomb.png": (send(bomb()), "too_many_pixels"),
        "/large.jpg": (send(file(image=Image.new("L", (10_000, 10_000)))), "too_many_pixels"),
        "/scans.jpg": (send(endless_scans()), "undecodable"),
        "/endless": (raw(HEAD + b"\r\n", then=repeat(bytes(1 << 16))), "too_large"),
        "/endless_chunks": (
            raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", then=repeat(CHUNK)),
            "too_large",
        ),
        "/announces_much": (raw(HEAD + b"Content-Length: 9999999999\r\n\r\n"), "too_large"),
        "/endless_redirect": (raw(LIES, then=repeat(bytes(1 << 16))), "too_large"),
        # broken
        "/cut_off": (send(jpeg[:99], Content_Length=len(jpeg)), "truncated"),
        "/cut_off_chunk": (
            raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\nxx"),
            "truncated",
        ),
        "/reset": (reset, "unreachable"),
        "/hangs_up": (raw(), "unreachable"),
        "/not_http": (raw(b"220 ftp.example ready\r\n"), "bad_answer"),
        "/many_headers": (raw(HEAD + b"X: y\r\n" * 200 + b"\r\n"), "bad_answer"),
        "/long_header": (raw(HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n"), "bad_answer"),
        # elsewhere
        "/loop": (redirect("/loop"), "too_many_redirects"),
        "/to_a_file": (redirect("file:///etc/passwd"), "bad_url"),
        # no
        "/noai.jpg": (send(jpeg, X_Robots_Tag="noai"), "not_allowed"),
        "/404": (send(PAGE, status=404), "http_404"),
        "/410": (send(PAGE, status=410), "http_410"),
        "/403": (send(PAGE, status=403), "http_403"),
        "/500": (send(PAGE, status=500), "http_500"),
    }
