"""The way to the network: what it refuses, how it fails, how it goes on."""

import hashlib
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from countclip import network
from countclip.connection import connection
from countclip.network import DownloadError

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
    with pytest.raises(DownloadError) as caught:
        network.get(url, session=session, max_bytes=1000, timeout=0.5)
    assert caught.value.reason == reason


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_direct_connections_into_a_private_network_are_refused(host):
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    direct = network.session({})
    direct.trust_env = False  # a proxy of the machine that runs the tests would answer instead
    with pytest.raises(DownloadError) as caught:
        network.get(f"http://{host}:{server.server_port}/", session=direct, max_bytes=10)
    server.shutdown()
    server.server_close()
    assert caught.value.reason == "private_address"
    assert asked == []


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
