"""img2dataset under supervision: statuses, restarts, the manifest, its download function."""

import errno
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.data import fetch, fetch_worker, shards
from countclip.runtime import files
from countclip.runtime.connection import connection
from countclip.runtime.files import write_table
from loopback import Handler, Server, serving

IMAGES = {
    "image_size": 256, "resize_mode": "no", "encode_format": "jpg", "encode_quality": 95,
    "timeout": 30.0, "deadline": 60.0, "max_bytes": 1_000_000, "max_pixels": 1_000_000,
    "private_networks": [],
}  # fmt: skip
SCENE = {"stream": "laion", "index": 1, "number": 3}
WORLD = {  # url -> what the miniature's server answers, and what that makes of the candidate
    "http://cdn.miniature.example/1.jpg": ("scene", SCENE, "ok"),
    "http://cdn.miniature.example/2.png": ("scene", SCENE, "ok"),
    "http://cdn.miniature.example/3.jpg": ("redirect", {"location": "/1.jpg"}, "ok"),
    "http://cdn.miniature.example/4.jpg": ("html", {}, "not_an_image"),
    "http://cdn.miniature.example/5.jpg": ("status", {"status": 404}, "http_404"),
    "http://cdn.miniature.example/6.jpg": ("status", {"status": 503}, "http_503"),
    "http://cdn.miniature.example/7.jpg": (
        "scene", SCENE | {"X_Robots_Tag": "noai"}, "not_allowed"),
    "http://cdn.miniature.example/9.jpg": ("file", {"path": "huge.jpg"}, "too_large"),
    "http://cdn.miniature.example/10.jpg": ("file", {"path": "wide.png"}, "too_many_pixels"),
    "http://cdn.miniature.example/11.jpg": (
        "redirect", {"location": "http://cdn.miniature.example/11.jpg"}, "too_many_redirects"),
    "http://cdn.miniature.example/12.jpg": (
        "redirect", {"location": "file:///etc/passwd"}, "bad_url"),
    "http://cdn.miniature.example/my cats/ü.jpg": ("scene", SCENE, "ok"),
    "file:///etc/passwd": (None, None, "bad_url"),
    "cdn.miniature.example/1.jpg": (None, None, "bad_url"),
    "http://[::1": (None, None, "bad_url"),
    "http://127.0.0.1/x.jpg": (None, None, "private_address"),
    "http://localhost:8000/x.jpg": (None, None, "private_address"),
    "ftp://cdn.miniature.example/x.jpg": (None, None, "bad_url"),
}  # fmt: skip


def inputs(folder: Path) -> tuple[Path, Path]:
    (folder / "huge.jpg").write_bytes(b"\xff\xd8" * 600_000)
    Image.new("L", (2000, 2000)).save(folder / "wide.png")
    answers = [
        (url, kind, json.dumps(payload)) for url, (kind, payload, _) in WORLD.items() if kind
    ]
    columns = dict(zip(("url", "kind", "payload"), zip(*answers, strict=True), strict=True))
    write_table(pa.table({k: list(v) for k, v in columns.items()}), folder / "world.parquet")
    rows = {"sample_id": [str(i) for i in range(len(WORLD))], "url": list(WORLD)}
    write_table(pa.table(rows), folder / "candidates.parquet")
    return folder / "candidates.parquet", folder / "world.parquet"


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fetch")
    candidates, world = inputs(folder)
    manifest = folder / "images/part-00000.parquet"
    with connection("miniature", world) as environment:
        fetch.fetch_images(
            candidates=candidates,
            manifest=manifest,
            counts=manifest.with_suffix(".json"),
            images=IMAGES,
            shard_rows=8,
            success_percent_min=30,
            state=folder / "state",
            environment=environment,
        )
    return manifest


def test_every_candidate_has_its_status(fetched: Path) -> None:
    table = pq.read_table(fetched)
    assert table.schema.equals(fetch.MANIFEST)
    assert table["key"].to_pylist() == [f"{i:09d}" for i in range(len(WORLD))]
    statuses = dict(zip(table["url"].to_pylist(), table["status"].to_pylist(), strict=True))
    assert statuses == {url: status for url, (*_, status) in WORLD.items()}
    assert not list((fetched.parents[1] / "state").iterdir())  # nothing is left behind


def test_images_come_back_in_order_and_jpegs_keep_their_bytes(fetched: Path) -> None:
    rows = {row["key"]: row for row in pq.read_table(fetched).to_pylist()}
    images = dict(shards.read_images(fetched))
    assert list(images) == sorted(key for key, row in rows.items() if row["status"] == "ok")
    for key, data in images.items():
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
            assert image.size == (rows[key]["width"], rows[key]["height"])
    assert files.sha256(images["000000000"]) == rows["000000000"]["sha256"]
    assert images["000000000"] == images["000000002"]
    assert dict(shards.read_images(fetched, ["000000002"])) == {"000000002": images["000000002"]}
    with pytest.raises(KeyError):
        list(shards.read_images(fetched, ["000000004"]))


def test_missing_shards_say_what_to_do(fetched: Path, tmp_path: Path) -> None:
    copy = tmp_path / "part-00000.parquet"
    copy.write_bytes(fetched.read_bytes())
    with pytest.raises(
        FileNotFoundError, match="part-00000 is gone, although .*Delete .*part-00000.parquet"
    ):
        list(shards.read_images(copy))


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("http_404 (Not Found)", "http_404"),
        ("http_504 (Gateway Timed Out)", "http_504"),
        ("http_300 (Multiple Choices)", "http_300"),
        ("http_429 (not requested, retry after 7 s)", "http_429"),
        ("too_many_redirects (Exceeded 10 redirects.)", "too_many_redirects"),
        ("timeout (not complete after 30.0 s)", "timeout"),
        ("dns (Name or service not known)", "unreachable"),
        ("tls ([SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed)", "bad_certificate"),
        ("tls ([SSL: WRONG_VERSION_NUMBER] wrong version number)", "unreachable"),
        ("truncated (IncompleteRead(7 bytes read, 8 more expected))", "truncated"),
        ("undecodable (5 x 5 pixels are too many)", "too_many_pixels"),
        ("undecodable (broken JPEG)", "undecodable"),
        ("not_an_image (no known image format)", "not_an_image"),
        ("bad_url ('ascii' codec can't encode character)", "bad_url"),
        ("private_address (x is at 10.0.0.1, not a public address)", "private_address"),
        ("other (ZeroDivisionError())", "other"),
        ("no words for this", "other"),
        (None, "other"),
    ],
)
def test_classify(message: str | None, status: str) -> None:
    assert fetch.classify("failed_to_download", message) == status
    assert fetch.classify("success", message) == "ok"


@pytest.mark.parametrize("network", ["10.1.2.3/8", "intranet", "10.1.0.0/99"])
def test_a_private_network_that_is_none_is_an_error(tmp_path: Path, network: str) -> None:
    with pytest.raises(ValueError, match=r"fetch.images.private_networks: .*10\.1\.0\.0/16"):
        fetch.fetch_images(
            candidates=tmp_path / "candidates.parquet",
            manifest=tmp_path / "part.parquet",
            counts=tmp_path / "part.json",
            images=IMAGES | {"private_networks": [network]},
            state=tmp_path / "state",
            environment={},
        )


def test_askable_quotes_what_browsers_would() -> None:
    assert fetch.sendable("http://bücher.example/ü b.jpg") == (
        "http://xn--bcher-kva.example/%C3%BC%20b.jpg", None,
    )  # fmt: skip
    for url in ("", "x", "http://", "javascript:alert(1)", "http://a b/c", "//cdn.example/x.jpg"):
        assert fetch.sendable(url)[1] == "bad_url", url
    assert fetch.sendable("http://10.1.2.3/x", ["10.1.0.0/16"])[1] is None
    for url in ("http://10.0.0.1/", "http://[::1]/x", "https://169.254.169.254/latest"):
        assert fetch.sendable(url)[1] == "private_address", url


# ---- supervision: img2dataset replaced by programs that misbehave ----


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, before: str = "") -> fetch._Pass:
    """A pass over six URLs in shards of four by a program of our own instead of img2dataset.
    before: what it does before it imports anything."""
    run = fetch._Pass(folder / "first", URLS, IMAGES, {}, shard_rows=4, connections=1, processes=1)
    (folder / "first").mkdir()
    (folder / "first/impostor.py").write_text(before + HELPERS + code)
    monkeypatch.setattr(fetch_worker, "__name__", "impostor")
    return run


HELPERS = """
import json, os, sys, tarfile, time
import pyarrow as pa, pyarrow.parquet as pq
def shard(i, rows, stats=True):
    n = len(rows)
    pq.write_table(pa.table({"row": rows, "key": [str(r) for r in rows],
        "status": ["failed_to_download"] * n, "error_message": ["timeout (silence)"] * n,
        "sha256": pa.nulls(n, pa.string()), "width": pa.nulls(n, pa.int32()),
        "height": pa.nulls(n, pa.int32())}), f"shards/{i:05d}.parquet")
    tarfile.open(f"shards/{i:05d}.tar", "w").close()
    with open(f"shards/{i:05d}_stats.json", "w") as file:
        file.write(json.dumps({"count": n, "successes": 0}) if stats else '{"cou')
attempt = len(open("attempts", "a+").read()) or os.path.getsize("attempts")
open("attempts", "a").write("x")
"""
URLS = {i: f"http://x.example/{i}" for i in range(6)}


def test_a_program_that_hangs_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
if os.path.exists("shards/00000_stats.json"):
    shard(1, [4, 5])
else:
    shard(0, [0, 1, 2, 3])
time.sleep(3600)
"""
    run = fake(tmp_path, monkeypatch, code)
    monkeypatch.setattr(fetch, "GRACE", 0.5)
    run.supervise(stall=8, attempts=20)  # on a busy machine it may seem to hang at once
    assert len((tmp_path / "first/attempts").read_text()) > 1
    assert set(run.answers()) == set(URLS)


def test_a_slow_shard_is_no_reason_to_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = """
import threading, time
done = threading.Event()
def grow():
    while not done.wait(0.2):
        with open("shards/00000.tar", "ab") as tar:
            tar.write(b"x")
thread = threading.Thread(target=grow)
thread.start()  # before what is slow to import on a busy machine
"""
    code = """
shard(1, [4, 5])
time.sleep(8)
done.set()
thread.join()
shard(0, [0, 1, 2, 3])
"""
    run = fake(tmp_path, monkeypatch, code, growing)
    run.supervise(stall=6, attempts=1)
    assert set(run.answers()) == set(URLS)


def test_a_program_that_never_finishes_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake(tmp_path, monkeypatch, "shard(0, [0, 1, 2, 3])")
    with pytest.raises(RuntimeError, match="left 1 of 2 shards undone after 2 attempts"):
        run.supervise(stall=600, attempts=2)


def test_a_half_written_shard_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "shard(0, [0, 1, 2, 3]); shard(1, [4, 5], stats=attempt > 0)"
    run = fake(tmp_path, monkeypatch, code)
    run.supervise(stall=600, attempts=2)
    assert (tmp_path / "first/attempts").read_text() == "xx"


def test_rows_that_it_drops_are_lost_but_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """shard(0, [0, 1, 2])
open("shards/00000_stats.json", "w").write('{"count": 4, "successes": 0}')
shard(1, [4, 5])"""
    run = fake(tmp_path, monkeypatch, code)
    run.supervise(stall=600, attempts=1)
    statuses = {row: answer["status"] for row, answer in run.answers().items()}
    assert statuses == {
        0: "timeout",
        1: "timeout",
        2: "timeout",
        3: "lost",
        4: "timeout",
        5: "timeout",
    }


def test_a_dead_network_fails_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake(tmp_path, monkeypatch, "shard(0, [0, 1, 2, 3]); shard(1, [4, 5])")
    run.supervise(stall=600, attempts=1)
    with pytest.raises(RuntimeError, match="only 0 of 6 URLs answered.*success_percent_min is 50"):
        fetch._require_success(run.answers(), 50, run)
    run.supervise(stall=600, attempts=1)
    assert (tmp_path / "first/attempts").read_text() == "xx"


@pytest.mark.parametrize(
    ("statuses", "percent", "message"),
    [
        ({"private_address": 9}, 50, "0 of 9 .*9 private_address. .*fetch.images.private_networks"),
        ({"bad_url": 7}, 0, "0 of 7 URLs .*7 bad_url. .*serve the files over http"),
        ({"ok": 2, "private_address": 9}, 50, "2 of 11 URLs .*fetch.images.private_networks"),
        ({"ok": 3, "bad_url": 9}, 50, "3 of 12 URLs .*9 bad_url. bad_url: paths"),
        ({"too_large": 4}, 1, "0 of 4 URLs .*raise fetch.images.max_bytes"),
    ],
)
def test_no_row_is_left_out_of_the_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statuses: dict, percent: int, message: str
) -> None:
    run = fake(tmp_path, monkeypatch, "")
    run.rows = []  # none of it was sent
    rows = [{"status": status} for status, n in statuses.items() for _ in range(n)]
    with pytest.raises(RuntimeError, match=f"only {message}"):
        fetch._require_success(dict(enumerate(rows)), percent, run)
    rows += [{"status": "ok"}] * len(rows)
    fetch._require_success(dict(enumerate(rows)), 50, run)


def test_a_part_without_candidates_says_what_to_do(tmp_path: Path) -> None:
    rows = {"sample_id": pa.array([], pa.string()), "url": pa.array([], pa.string())}
    write_table(pa.table(rows), tmp_path / "none.parquet")
    with pytest.raises(RuntimeError, match=r"none.parquet: no row .*laion.parts"):
        fetch.fetch_images(
            candidates=tmp_path / "none.parquet", manifest=tmp_path / "m.parquet",
            counts=tmp_path / "m.json", images=IMAGES, state=tmp_path / "state", environment={},
        )  # fmt: skip


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOSPC])
def test_an_error_of_this_machine_ends_the_job_and_is_recorded_for_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    run = fake(tmp_path, monkeypatch, f"shard(0, [0, 1, 2, 3]); os._exit(100 + {code})")
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        run.supervise(stall=600, attempts=3)
    assert caught.value.errno == code
    assert (tmp_path / "first/attempts").read_text() == "x"  # no second attempt


def test_a_full_disk_ends_the_worker_and_not_a_shard() -> None:
    code = (
        "from countclip.data.fetch_worker import ending_with_machine\n"
        "with ending_with_machine():\n"
        "    open('/dev/full', 'w').write('x' * 99999)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(fetch.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == fetch_worker.STOPPED + errno.ENOSPC


# ---- the download that img2dataset gets ----


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def pieces(handler: Handler) -> None:
    """A body without a length (or with a false one) that ends with its connection."""
    handler.close_connection = True
    handler.send_response(200)
    if handler.path == "/cut":
        handler.send_header("Content-Length", "100")
    handler.end_headers()
    while handler.path == "/drip":
        handler.wfile.write(b"x")
        time.sleep(0.05)
    handler.wfile.write(b"x" * (5_000_000 if handler.path == "/big" else 10))


@pytest.fixture
def server() -> Iterator[str]:
    with serving(Server(answer=pieces)) as made:
        yield made.url


def read(url: str, *allowed: str, deadline: float = 60) -> bytes | str:
    """A body, or the message why there is none."""
    limits = {"max_bytes": 3_000_000, "deadline": deadline, "private_networks": list(allowed)}
    download_image = fetch_worker.image_downloader(IMAGES | limits, "test")
    key, file, message = download_image((7, url), 10, None, None)
    assert key == 7
    assert (file is None) != (message is None)
    return message or file.read()


def test_download_bounds_size_and_time(server: str) -> None:
    assert read(f"{server}/", "127.0.0.0/8") == b"x" * 10
    assert read(f"{server}/big", "127.0.0.0/8") == "too_large (over 3000000 bytes)"
    slow = read(f"{server}/drip", "127.0.0.0/8", deadline=0.5)
    assert slow == "timeout (not complete after 0.5 s)"
    cut = read(f"{server}/cut", "127.0.0.0/8")
    assert cut.startswith("truncated (")
    assert "90 more expected" in cut


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxies", ["", "no_proxy", "other_scheme"])
def test_download_stays_out_of_private_networks(
    server: str, scheme: str, proxies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if proxies == "no_proxy":
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
    elif proxies == "other_scheme":
        monkeypatch.setenv(f"{'https' if scheme == 'http' else 'http'}_proxy", "http://127.0.0.1:9")
    message = read(f"{server}/".replace("http", scheme))
    assert message.startswith("private_address (127.0.0.1 is at 127.0.0.1")


def test_through_a_proxy_the_address_is_its_business(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server)
    assert read("http://10.0.0.1/") == b"x" * 10


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x.example/y", "data:text/plain,x"])
@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
def test_download_knows_http_only(url: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ftp_proxy", proxy)
    assert read(url).startswith("bad_url (")


def test_download_introduces_itself_as_img2dataset_does() -> None:
    agents = []

    def answer(handler: Handler) -> None:
        agents.append(handler.headers["User-Agent"])
        handler.send(200, b"x")

    with serving(Server(answer=answer)) as server:
        assert read(server.url, "127.0.0.1/32") == b"x"
    assert agents == [
        "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:72.0) Gecko/20100101 Firefox/72.0"
        " (compatible; test; +https://github.com/rom1504/img2dataset)"
    ]


def test_an_error_that_nobody_foresaw_is_a_message_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_, **__) -> None:
        raise ZeroDivisionError("what?")

    monkeypatch.setattr(fetch_worker.network, "get", broken)
    assert read("http://x.example/") == "other (ZeroDivisionError('what?'))"
