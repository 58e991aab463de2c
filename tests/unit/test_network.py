"""Downloads: what they refuse, how they fail, how they continue."""

import gzip
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import faults
import loopback
from countclip.runtime import network
from countclip.runtime.connection import connection
from countclip.runtime.network import DownloadError
from internet import Fate, internet
from loopback import Answer, Handler, Server

BODY = bytes(range(256)) * 4000
FILE = "http://hub.miniature.example/file.bin"


@pytest.fixture
def world(tmp_path):
    (tmp_path / "file.bin").write_bytes(BODY)
    answers = {
        FILE: ("file", {"path": "file.bin"}),
        "http://cdn.miniature.example/a.png": (
            "scene",
            {"stream": "laion", "index": 1, "number": 3},
        ),
        "http://cdn.miniature.example/moved": ("redirect", {"location": FILE}),
        "http://cdn.miniature.example/loop": (
            "redirect",
            {"location": "http://cdn.miniature.example/loop"},
        ),
        "http://cdn.miniature.example/away": ("redirect", {"location": "file:///etc/passwd"}),
        "http://cdn.miniature.example/broken": ("status", {"status": 500}),
        "http://cdn.miniature.example/slow": ("slow", {}),
    }
    columns = {
        "url": list(answers),
        "kind": [kind for kind, _ in answers.values()],
        "payload": [json.dumps(payload) for _, payload in answers.values()],
    }
    pq.write_table(pa.table(columns), tmp_path / "world.parquet")
    return tmp_path / "world.parquet"


@pytest.fixture
def session(world):
    with connection("miniature", world) as environment:
        yield network.session(environment)


def test_get(session):
    answer = network.get(FILE, session=session, max_bytes=len(BODY))
    assert answer.body == BODY
    moved = network.get("http://cdn.miniature.example/moved", session=session, max_bytes=10**7)
    assert (moved.body, moved.url) == (BODY, FILE)
    picture = network.get("http://cdn.miniature.example/a.png", session=session, max_bytes=10**6)
    assert picture.content_type == "image/png"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://cdn.miniature.example/nothing", "http_404"),
        ("http://cdn.miniature.example/loop", "too_many_redirects"),
        ("http://cdn.miniature.example/away", "bad_url"),
        ("http://cdn.miniature.example/slow", "timeout"),
        ("http://elsewhere.example/a.png", "http_502"),
        (FILE, "too_large"),
        ("ftp://cdn.miniature.example/a", "bad_url"),
        ("cdn.miniature.example/a.png", "bad_url"),
        ("", "bad_url"),
        ("http://[::1/", "bad_url"),
    ],
)
def test_get_says_why_not(session, url, reason):
    timeout = 0.5 if reason == "timeout" else 30
    with pytest.raises(DownloadError) as caught:
        network.get(url, session=session, max_bytes=1000, timeout=timeout)
    assert caught.value.reason == reason


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    with loopback.serving(Server(answer=answer)) as server:
        yield server.url


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_direct_connections_into_a_private_network_are_refused(host):
    asked = []
    direct = network.session({})
    direct.trust_env = False  # a proxy of the machine that runs the tests would answer instead
    with serving(asked.append) as url, pytest.raises(DownloadError) as caught:
        network.get(url.replace("127.0.0.1", host), session=direct, max_bytes=10)
    assert caught.value.reason == "private_address"
    assert asked == []


HEADERS = {
    "length": "Content-Length: 1000\r\n",
    "chunks": "Transfer-Encoding: chunked\r\n",
    "end": "Connection: close\r\n",
    "gzip": "Content-Encoding: gzip\r\n",
}


def answering(kind: str, *pieces: bytes) -> Answer:
    """An answer whose body comes in pieces with a pause after each."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(f"HTTP/1.1 200 OK\r\n{HEADERS[kind]}\r\n".encode())
        for piece in pieces:
            chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
            handler.wfile.write(chunk if kind == "chunks" else piece)
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize("kind", ["length", "chunks", "end"])
def test_a_server_that_drips_single_bytes_meets_the_deadline(kind):
    with serving(answering(kind, *[b"x"] * 900)) as proxy:
        session = network.session({"http_proxy": proxy, "https_proxy": proxy})
        with pytest.raises(DownloadError, match=r"not complete after 0\.5 s") as caught:
            network.get("http://x.example/", session=session, max_bytes=1000, deadline=0.5)
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize(
    ("kind", "pieces", "expected"),
    [
        ("chunks", [b"one", b"two", b""], b"onetwo"),
        ("end", [b"one", b"two"], b"onetwo"),
        ("gzip", [gzip.compress(b"onetwo")[:9], gzip.compress(b"onetwo")[9:]], b"onetwo"),
        ("chunks", [b"one", b"two"], "truncated"),
        ("length", [b"one", b"two"], "truncated"),
    ],
)
def test_bodies_of_all_kinds_are_read_to_their_end(kind, pieces, expected):
    with serving(answering(kind, *pieces)) as proxy:
        session = network.session({"http_proxy": proxy, "https_proxy": proxy})
        if isinstance(expected, bytes):
            answer = network.get("http://x.example/", session=session, max_bytes=1000)
            assert answer.body == expected
        else:
            with pytest.raises(DownloadError, match=expected):
                network.get("http://x.example/", session=session, max_bytes=1000)


def test_download_goes_on_where_it_was_killed(session, tmp_path):
    partial, path = tmp_path / "partial", tmp_path / "out/file.bin"
    partial.write_bytes(BODY[:1000])
    right = {"size": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    network.download(FILE, path, session=session, partial=partial, **right)
    assert path.read_bytes() == BODY
    assert not partial.exists()


def test_download_publishes_nothing_wrong(session, tmp_path):
    partial, path = tmp_path / "partial", tmp_path / "file.bin.out"
    right = {"size": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    partial.write_bytes(b"\xff" * 1000)  # left by a download of something else
    for wrong, reason in (
        (right, "wrong_sha256"),
        ({**right, "size": len(BODY) - 1}, "wrong_size"),
        ({**right, "sha256": "0" * 64}, "wrong_sha256"),
    ):
        with pytest.raises(DownloadError) as caught:
            network.download(FILE, path, session=session, partial=partial, **wrong)
        assert caught.value.reason == reason
        assert not path.exists()
        assert not partial.exists()
    network.download(FILE, path, session=session, partial=partial, **right)
    assert path.read_bytes() == BODY


def test_temporary_failures_are_tried_again(session, monkeypatch):
    attempts = []
    get = session.get
    monkeypatch.setattr(session, "get", lambda *a, **k: attempts.append(a) or get(*a, **k))
    with pytest.raises(DownloadError, match="http_500"):
        network.get(
            "http://cdn.miniature.example/broken", session=session, max_bytes=1000, retries=2
        )
    assert len(attempts) == 3


def test_connection_names_its_kinds():
    with (
        pytest.raises(ValueError, match="neither 'internet' nor 'miniature'"),
        connection("wifi"),
    ):
        pass
    with connection("internet") as environment:
        assert environment == {}


def behind(proxy: str, **more: str) -> network.requests.Session:
    return network.session({"http_proxy": proxy, "https_proxy": proxy, **more})


def replying(*head: str, body: bytes = b"x") -> Answer:
    def answer(handler: Handler) -> None:
        handler.close_connection = True
        lines = ["HTTP/1.1 200 OK", *head] if not head[0].startswith("HTTP/") else head
        handler.wfile.write("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def test_a_head_that_drips_meets_the_timeout():
    def drip(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(900):
            handler.wfile.write(b"X-%d: x\r\n" % number)
            time.sleep(0.05)

    with serving(drip) as proxy, pytest.raises(DownloadError) as caught:
        network.get("http://x.example/", session=behind(proxy), max_bytes=1000, timeout=0.5)
    assert caught.value.reason == "timeout"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
ENDLESS = {
    "a chunk's length": (CHUNKED, repeat(b"1"), 0.05),
    "trailers": (CHUNKED, chain([b"0\r\n"], repeat(b"X: y\r\n")), 0.05),
    # The name of the file that was compressed, before any byte of it: nothing ever comes out.
    "a gzip's head": (
        b"Content-Encoding: gzip\r\n",
        chain([b"\x1f\x8b\x08\x08" + bytes(6)], repeat(b"x" * 65536)),
        0,
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_frames_a_body_meets_the_deadline_too(name):
    head, pieces, pause = ENDLESS[name]
    endless = faults.raw(faults.HEAD + head + b"\r\n", then=pieces, pause=pause)
    with serving(endless) as proxy, pytest.raises(DownloadError) as caught:
        network.get("http://x.example/", session=behind(proxy), max_bytes=1000, deadline=0.5)
    assert "not complete after 0.5 s" in str(caught.value)
    assert (caught.value.reason, caught.value.content_type) == ("timeout", "image/jpeg")


@pytest.mark.parametrize("framing", ["Content-Length: 99999999999", "Transfer-Encoding: chunked"])
def test_the_body_of_a_redirect_is_left_unread(framing):
    sent, ended = [], threading.Event()

    def endless(handler: Handler) -> None:
        if handler.path.endswith("/there"):
            return replying("Content-Length: 5", body=b"there")(handler)
        handler.close_connection = True
        head = f"HTTP/1.1 302 Found\r\nLocation: /there\r\n{framing}\r\n\r\n"
        handler.wfile.write(head.encode())
        piece = b"10000\r\n" + bytes(1 << 16) + b"\r\n" if "chunked" in framing else bytes(1 << 16)
        try:
            for _ in range(1000):
                handler.wfile.write(piece)
                sent.append(len(piece))
        finally:
            ended.set()

    with serving(endless) as proxy:
        answer = network.get("http://x.example/here", session=behind(proxy), max_bytes=10)
        assert ended.wait(60)
    assert (answer.body, answer.url) == (b"there", "http://x.example/there")
    assert sum(sent) < 20_000_000  # what fits into the sockets' buffers, of 65 MB


def test_a_connection_that_the_host_closed_meanwhile_is_replaced():
    """As hosts do with idle ones; a new connection that breaks is an error all the same."""
    asked = []

    def hanging_up(handler: Handler) -> None:
        asked.append(handler.client_address)
        if "broken" in handler.path:
            handler.close_connection = True
            return
        replying("Content-Length: 5", body=b"there")(handler)
        handler.close_connection = True  # without a word of it

    with serving(hanging_up) as proxy:
        session = behind(proxy)
        for number in range(20):  # whether the end is seen in time is a race
            answer = network.get(f"http://x.example/{number}", session=session, max_bytes=10)
            assert answer.body == b"there"
        with pytest.raises(DownloadError, match="unreachable"):
            network.get("http://x.example/broken", session=behind(proxy), max_bytes=10)
    assert len(set(asked)) == len(asked) == 21


def test_a_redirect_of_no_stated_length_that_falls_silent_is_followed():
    def silent(handler: Handler) -> None:
        if handler.path.endswith("/there"):
            return replying("Content-Length: 5", body=b"there")(handler)
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\nmoved")
        time.sleep(60)

    with serving(silent) as proxy:
        answer = network.get("http://x.example/", session=behind(proxy), max_bytes=10, timeout=0.5)
    assert answer.body == b"there"


def test_redirects_meet_the_deadline():
    def slowly(handler: Handler) -> None:
        time.sleep(0.3)
        head = ("HTTP/1.1 302 Found", f"Location: {handler.path}1", "Content-Length: 0")
        replying(*head, body=b"")(handler)

    with serving(slowly) as proxy, pytest.raises(DownloadError) as caught:
        network.get("http://x.example/", session=behind(proxy), max_bytes=10, deadline=0.5)
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize(
    ("field", "allowed"),
    [
        ("noai", False),
        ("max-image-preview: large, NoImageAI", False),
        ("countclip-workflow: noindex", False),
        ("otherbot: noindex, noai", True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST", True),
        ("noarchive, nosnippet", True),
    ],
)
def test_files_that_robots_are_asked_to_leave_alone_are_not_read(field, allowed):
    with serving(replying(f"X-Robots-Tag: {field}", "Content-Length: 1")) as proxy:
        if allowed:
            network.get("http://x.example/", session=behind(proxy), max_bytes=10)
        else:
            with pytest.raises(DownloadError, match="X-Robots-Tag: no") as caught:
                network.get("http://x.example/", session=behind(proxy), max_bytes=10)
            assert caught.value.reason == "not_allowed"


def test_the_host_says_when_it_is_asked_again():
    times = []

    def busy(handler: Handler) -> None:
        times.append(time.monotonic())
        head = ("HTTP/1.1 429 Slow down", "Retry-After: 1", "Content-Length: 1")
        replying(*head)(handler)

    with serving(busy) as proxy, pytest.raises(DownloadError, match="http_429"):
        network.get("http://x.example/", session=behind(proxy), max_bytes=10, retries=1)
    assert len(times) == 2
    assert times[1] - times[0] >= 1


def test_pauses_grow_are_seeded_and_end_where_a_host_asks_for_too_much():
    def failed(retry_after: str) -> DownloadError:
        answer = network.requests.Response()
        answer.headers["Retry-After"] = retry_after
        return DownloadError("http://x.example/", "http_503", answer=answer)

    pauses = [network.pause(failed(""), attempt) for attempt in range(1, 5)]
    assert pauses == sorted(pauses) == [network.pause(failed(""), n) for n in range(1, 5)]
    assert network.pause(failed("45"), 1) == 45
    assert failed("45").temporary
    assert not failed("3600").temporary
    assert failed("Wed, 21 Oct 2099 07:28:00 GMT").retry_after > 1e9
    assert failed("Wed, 21 Oct 2015 07:28:00 GMT").retry_after == 0
    assert failed("soon").retry_after == 0


def test_no_host_is_told_a_password(tmp_path, monkeypatch):
    """Whoever writes a link or a redirect would choose the host that gets it."""
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    told = []

    def answer(handler: Handler) -> None:
        told.append((handler.path, handler.headers["Authorization"]))
        if handler.path == "http://x.example/":
            head = ("HTTP/1.1 302 Found", "Location: http://y.example/", "Content-Length: 0")
            return replying(*head, body=b"")(handler)
        replying("Content-Length: 1")(handler)

    with serving(answer) as proxy:
        for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy)
        network.get("http://x.example/", session=network.session({}), max_bytes=10)
    assert told == [("http://x.example/", None), ("http://y.example/", None)]


def test_hosts_are_told_who_asks():
    agents = []
    with serving(
        lambda handler: (
            agents.append(handler.headers["User-Agent"]),
            replying("Content-Length: 1")(handler),
        )
    ) as proxy:
        environment = {"http_proxy": proxy, "https_proxy": proxy}
        for contact in ("", "https://lab.example/countbench"):
            session = network.session(environment, contact)
            network.get("http://x.example/", session=session, max_bytes=10)
    assert agents == [
        "countclip-workflow",
        "countclip-workflow (+https://lab.example/countbench)",
    ]


def test_names_and_certificates_have_reasons_of_their_own(tmp_path):
    fates = {
        "https://good.example/a.jpg": Fate("alive", 0, 0.0),
        "https://wrong.example/a.jpg": Fate("tls", 0, 0.0),
        "http://nowhere.example/a.jpg": Fate("dns", 0, 0.0),
        "https://gone.example/a.jpg": Fate("dead", 0, 0.0),
    }
    found = []
    with internet(fates, tmp_path) as environment:
        session = network.session(environment)
        for url in fates:
            try:
                found.append(network.get(url, session=session, max_bytes=10**6).status)
            except DownloadError as error:
                found.append(error.reason)
        session = network.session({**environment, "REQUESTS_CA_BUNDLE": ""})
        with pytest.raises(DownloadError, match="tls"):  # the tests' authority is no one else's
            network.get("https://good.example/a.jpg", session=session, max_bytes=10**6)
    assert found == [200, "tls", "dns", "http_404"]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of x.example, one look-up at a time; what is left of them."""
    lookups: list[list[str]] = []
    resolve = socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        if host != "x.example":
            return resolve(host, port, *args, **kwargs)
        found = lookups.pop(0)
        return [entry for name in found for entry in resolve(name, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return lookups


def direct(*allowed: str) -> network.requests.Session:
    session = network.session({}, allowed=allowed)
    session.trust_env = False
    return session


def test_nobody_knocks_at_a_private_address_of_a_name(resolver: list[list[str]]) -> None:
    here = {"/": faults.send(b"here")}
    with faults.host(here, "127.0.0.2") as private, faults.host(here) as neighbour:
        resolver += [["127.0.0.2"]]
        url = f"http://x.example:{private.server_port}/"
        with pytest.raises(DownloadError, match=r"x\.example is at 127\.0\.0\.2") as caught:
            network.get(url, session=direct("127.0.0.1/32"), max_bytes=9)
        assert caught.value.reason == "private_address"
        # Of several addresses the private one is passed over, and nobody looks again.
        resolver += [["127.0.0.2", "127.0.0.1"], ["127.0.0.2"]]
        url = f"http://x.example:{neighbour.server_port}/"
        assert network.get(url, session=direct("127.0.0.1/32"), max_bytes=9).body == b"here"
        assert resolver == [["127.0.0.2"]]
        assert (private.connected, neighbour.connected) == (0, 1)


def test_an_address_that_refuses_is_followed_by_the_next(resolver: list[list[str]]) -> None:
    resolver += [["127.0.0.9", "127.0.0.1"]]
    with faults.host({"/": faults.send(b"here")}) as server:
        url = f"http://x.example:{server.server_port}/"
        assert network.get(url, session=direct("127.0.0.0/8"), max_bytes=9).body == b"here"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_host_that_accepts_and_says_nothing_meets_the_deadline(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun, url = time.monotonic(), f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DownloadError) as caught:
            network.get(url, session=direct("127.0.0.0/8"), max_bytes=9, timeout=60, deadline=0.5)
    assert caught.value.reason == "timeout"
    assert time.monotonic() - begun < 30


def test_a_body_that_announces_too_much_is_not_read() -> None:
    announcing = faults.raw(faults.HEAD + b"Content-Length: 11\r\n\r\n")
    with serving(announcing) as proxy, pytest.raises(DownloadError, match="11 bytes") as caught:
        network.get("http://x.example/", session=behind(proxy), max_bytes=10)
    assert caught.value.reason == "too_large"


def test_a_link_is_told_no_cookies_of_another() -> None:
    cookies = []

    def answer(handler: Handler) -> None:
        cookies.append(handler.headers["Cookie"])
        path = handler.path.removeprefix("http://x.example")
        more = {"Location": "/end"} if path == "/begin" else {}
        handler.send(302 if more else 200, b"x", Set_Cookie="a=b", **more)

    with serving(answer) as proxy:
        session = behind(proxy)
        for _ in range(2):
            network.get("http://x.example/begin", session=session, max_bytes=10)
    assert cookies == [None, "a=b"] * 2


def test_an_encoding_can_stay() -> None:
    encoded = gzip.compress(b"onetwo")
    with serving(answering("gzip", encoded)) as proxy:
        answer = network.get("http://x.example/", session=behind(proxy), max_bytes=99, decode=False)
    assert answer.body == encoded
