"""Whatever an image host does wrong ends in a status of its own, and never ends the job."""

import io
import json
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trustme
from PIL import Image

import faults
from countclip.data import fetch, fetch_worker
from countclip.data.images import decode
from countclip.data.shards import read_images
from countclip.runtime import hosts
from countclip.runtime.files import write_table
from kill import killed_often

SCRIPTS = str(Path(fetch.__file__).parents[2])
IMAGES = {
    "image_size": 256, "resize_mode": "no", "encode_format": "jpg", "encode_quality": 95,
    "timeout": 30.0, "deadline": 60.0, "max_bytes": 5_000_000, "max_pixels": 50_000_000,
    "private_networks": ["127.0.0.1/32", "127.0.0.3/32", "127.0.0.4/32"],
}  # fmt: skip
ANSWERS = faults.answers()
EXPECTED = {path: status for path, (_, status) in ANSWERS.items()} | {
    "https": "ok",
    "self-signed": "bad_certificate",
    "tls on a plain port": "unreachable",
    "nobody listens": "unreachable",
    "to a private address": "private_address",
    "to a private name": "private_address",
    "private": "private_address",
    "private, mapped": "private_address",
    "wait 1 s": "ok",
    "wait an hour": "http_429",
}


@pytest.fixture(scope="module", autouse=True)
def direct() -> Iterator[None]:
    """No proxy, and little patience."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fetch, "PATIENCE", 2.0)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patched.delenv(name, raising=False)
            patched.delenv(name.upper(), raising=False)
        yield


def fetch_all(folder: Path, urls: dict[str, str], state: Path, **settings) -> tuple[Path, dict]:
    """Fetch URLs by the names that the manifest calls them; the manifest and the counts."""
    rows = {"sample_id": list(urls), "url": list(urls.values())}
    write_table(pa.table(rows), folder / "candidates.parquet")
    manifest, counts = folder / "images/part.parquet", folder / "images/part.json"
    defaults = {"images": IMAGES, "environment": {}, "shard_rows": 100, "attempts": 1}
    fetch.fetch_images(
        candidates=folder / "candidates.parquet",
        manifest=manifest,
        counts=counts,
        state=state,
        **defaults | settings,
    )
    return manifest, json.loads(counts.read_text())


class Fetched(NamedTuple):
    rows: dict[str, dict]  # name -> row of the manifest
    images: dict[str, Image.Image]  # name -> stored image
    counts: dict
    private: faults.Server  # which must not be hit
    closed: faults.Server  # which asked for an hour of silence


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    folder = tmp_path_factory.mktemp("faults")
    picture = faults.send(faults.file())
    wait, go_away = (faults.send(faults.PAGE, status=429, Retry_After=s) for s in (1, 3600))
    trusted, unknown = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(folder / "ca.pem")
    certificates = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2)]
    for context, authority in zip(certificates, (trusted, unknown), strict=True):
        authority.issue_cert("127.0.0.1").configure_cert(context)
    with ExitStack() as stack:
        private = stack.enter_context(faults.host({"/secret": picture}, "127.0.0.2"))
        elsewhere = {
            "/to_private": faults.redirect(f"{private.url}/secret"),
            "/to_a_name": faults.redirect(f"{private.url}/".replace("127.0.0.2", "0x7f000002")),
        }
        main = stack.enter_context(
            faults.host({path: answer for path, (answer, _) in ANSWERS.items()} | elsewhere)
        )
        busy = stack.enter_context(faults.host({"/": faults.once(wait, picture)}, "127.0.0.3"))
        closed = stack.enter_context(faults.host({"/": go_away}, "127.0.0.4"))
        https, signed = (
            stack.enter_context(faults.host({"/": picture}, tls=context))
            for context in certificates
        )
        with faults.host({}) as gone:
            pass
        urls = {path: main.url + path for path in ANSWERS} | {
            "https": f"{https.url}/",
            "self-signed": f"{signed.url}/",
            "tls on a plain port": f"{main.url}/picture.jpg".replace("http:", "https:"),
            "nobody listens": f"{gone.url}/",
            "to a private address": f"{main.url}/to_private",
            "to a private name": f"{main.url}/to_a_name",
            "private": f"{private.url}/secret",
            "private, mapped": f"{private.url}/secret".replace("127.0.0.2", "[::ffff:127.0.0.2]"),
            "wait 1 s": f"{busy.url}/",
            "wait an hour": f"{closed.url}/",
        }
        # On another file system than the images where there is one: shards must then be copied.
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        state = stack.enter_context(TemporaryDirectory(dir=memory))
        trusting = {"SSL_CERT_FILE": str(folder / "ca.pem")}
        manifest, counts = fetch_all(
            folder, urls, state, environment=trusting, success_percent_min=10
        )
    table = {row["key"]: row for row in pq.read_table(manifest).to_pylist()}
    images = {
        table[key]["sample_id"]: Image.open(io.BytesIO(data)) for key, data in read_images(manifest)
    }
    by_name = {row["sample_id"]: row for row in table.values()}
    return Fetched(by_name, images, counts, private, closed)


@pytest.mark.parametrize("name", EXPECTED)
def test_fault_has_its_status(fetched: Fetched, name: str) -> None:
    assert fetched.rows[name]["status"] == EXPECTED[name]
    assert (name in fetched.images) == (EXPECTED[name] == "ok")


def test_who_never_comes_to_an_end_is_given_up(tmp_path: Path) -> None:
    slow = faults.slow_answers()
    limits = IMAGES | {"timeout": 1.0, "deadline": 2.0}
    with faults.host(slow) as server:
        urls = {path: server.url + path for path in slow}
        _, counts = fetch_all(
            tmp_path, urls, tmp_path / "state", images=limits, success_percent_min=0
        )
    assert counts["statuses"] == {"timeout": len(slow)}


def test_every_row_is_counted(fetched: Fetched) -> None:
    assert len(fetched.rows) == len(EXPECTED)
    assert fetched.counts["statuses"] == dict(Counter(EXPECTED.values()))
    assert fetched.counts["recovered"] == 2  # /fails_once, and the host that asked for 1 s
    worst = fetched.counts["failing_hosts"]
    assert worst[0]["host"] == fetched.rows["/404"]["url"].split("/")[2]
    assert worst[0]["statuses"]["not_an_image"] > 1


def test_nobody_knocks_at_a_private_address(fetched: Fetched) -> None:
    assert fetched.private.connected == 0
    assert fetched.private.asked == []


def test_a_host_that_asks_for_patience_is_asked_once_a_pass(fetched: Fetched) -> None:
    assert fetched.closed.asked == ["/", "/"]


def test_a_host_that_asks_for_patience_gets_it() -> None:
    """From every thread of a worker, each with a session of its own."""
    page = faults.send(faults.PAGE, status=429, Retry_After=1)
    later = {"/busy": page, "/": faults.send(b"x")}
    download_image = fetch_worker.image_downloader(IMAGES, "test")
    with faults.host(later) as server, ThreadPoolExecutor(1) as other_thread:
        begun = time.monotonic()
        *_, message = other_thread.submit(download_image, (0, f"{server.url}/busy")).result()
        assert message == "http_429 (no body, retry after 1 s)"
        _, file, _ = download_image((1, f"{server.url}/"))
        assert file.read() == b"x"
        assert time.monotonic() - begun >= 1


def test_a_host_that_asks_for_too_much_patience_is_left_alone() -> None:
    page = faults.send(faults.PAGE, status=503, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT")
    download_image = fetch_worker.image_downloader(IMAGES, "test")
    with (
        faults.host({"/busy": page, "/": faults.send(b"x")}) as server,
        ThreadPoolExecutor(1) as other_thread,
    ):
        *_, message = other_thread.submit(download_image, (0, f"{server.url}/busy")).result()
        assert message.startswith("http_503 (no body, retry after ")
        *_, message = download_image((1, f"{server.url}/"))
        assert message.startswith("http_429 (not requested, retry after ")
        assert server.asked == ["/busy"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), (" 7 ", 7), ("-1", 0), ("", 0), ("soon", 0), ("9" * 9999, 0),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 99 Oct 2015", 0)],
)  # fmt: skip
def test_retry_after(value: str, seconds: float) -> None:
    assert hosts.retry_after(value) == seconds


@pytest.mark.parametrize("name", ["/rotated.jpg", "/rotated.webp", "/cmyk.jpg", "/animated.gif"])
def test_images_are_stored_as_a_person_sees_them(fetched: Fetched, name: str) -> None:
    body = io.BytesIO()
    fetched.images[name].save(body, "JPEG", exif=fetched.images[name].getexif(), quality=95)
    shown = decode(body.getvalue())
    assert shown.size == (fetched.rows[name]["width"], fetched.rows[name]["height"]) == (60, 40)
    red, white = shown.getpixel((5, 5)), shown.getpixel((50, 30))
    assert red[0] > 200 > 60 > red[1], "the red corner is at the top left"
    assert min(white) > 240


def test_sixteen_bits_become_eight(fetched: Fetched) -> None:
    assert decode(faults.file("PNG", fetched.images["/deep.png"])).getpixel((9, 9)) == (
        0x40, 0x40, 0x40,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("no", (300, 200), (300, 200)),
        ("keep_ratio", (300, 200), (150, 100)),
        ("keep_ratio", (300, 100), (300, 100)),  # nothing is enlarged
        ("keep_ratio_largest", (300, 200), (100, 67)),
        ("center_crop", (300, 200), (100, 100)),
        ("border", (300, 200), (100, 100)),
        ("border", (90, 60), (90, 60)),
    ],
)
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_resizing(mode: str, size: tuple[int, int], expected: tuple[int, int], kind: str) -> None:
    body = faults.file("JPEG", faults.scene(*size))
    resizer = fetch_worker.Resizer(100, mode, kind, 9, 10**6, 60.0)
    made, *sizes, error = resizer(io.BytesIO(body))
    assert error is None
    assert sizes == [*expected, *size]
    assert decode(made).size == expected
    assert (made == body) == (expected == size and kind == "jpg")


def test_an_image_that_takes_too_long_is_given_up() -> None:
    body = faults.endless_scans(200)
    errors = [
        fetch_worker.Resizer(256, "no", "jpg", 95, 10**8, seconds)(io.BytesIO(body))[-1]
        for seconds in (3600.0, 0.05)
    ]
    assert errors == [None, "undecodable (broken JPEG)"]


def test_an_image_that_shrinks_to_nothing_is_none() -> None:
    resizer = fetch_worker.Resizer(100, "keep_ratio_largest", "jpg", 95, 10**6, 60.0)
    *nothing, error = resizer(io.BytesIO(faults.file("PNG", Image.new("L", (5000, 1)))))
    assert nothing == [None] * 5
    assert fetch.classify("failed_to_resize", error) == "undecodable"


def test_a_large_image_is_refused_before_it_takes_memory() -> None:
    """In a process of its own, whose peak of memory nothing else has set."""
    code = """
import io, sys
from countclip.data.fetch_worker import Resizer

def peak():  # in KB; ru_maxrss would begin with that of the parent
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

body, resizer = sys.stdin.buffer.read(), Resizer(256, "no", "jpg", 95, int(sys.argv[1]), 60.0)
before = peak()
print(resizer(io.BytesIO(body))[5])
print(peak() - before)
"""
    body = faults.file(image=Image.new("L", (10_000, 10_000)))
    grown = {}
    for pixels in (50_000_000, 100_000_000):
        output = subprocess.run(
            [sys.executable, "-c", code, str(pixels)],
            input=body, env={"PYTHONPATH": SCRIPTS}, capture_output=True, check=True,
        ).stdout.decode().splitlines()  # fmt: skip
        grown[output[0]] = int(output[1])
    assert grown["None"] > 90_000  # KB: decoded, it takes that much
    assert grown["undecodable (10000 x 10000 pixels are too many)"] < 20_000


# ---- killed at any moment ----


def fetch_in_two(options: dict) -> None:
    """Fetch in two processes; work begins when a shard is being fetched."""
    begun = time.time()

    def watch() -> None:
        shards = Path(options["state"])
        while not any(tar.stat().st_mtime > begun for tar in shards.glob("*/*/shards/*.tar")):
            time.sleep(0.01)
        print("ready", flush=True)

    threading.Thread(target=watch, daemon=True).start()
    fetch.fetch_images(**options, environment={}, connections=2, processes=2)


def test_killed_ten_times_it_ends_as_if_it_never_was(tmp_path: Path) -> None:
    """And asks for nothing again that a finished shard has."""
    shards, size = 40, 4
    begun: list[tuple[int, bool]] = []  # row, whether its shard was finished when it was asked for
    state = tmp_path / "killed/state"
    picture, missing = faults.send(faults.file()), faults.send(faults.PAGE, status=404)

    def answer(handler: faults.Handler) -> None:
        row = int(handler.path[1:])
        stats = state.glob(f"*/first/shards/{row // size:05d}_stats.json")
        begun.append((row, any(file.read_text().endswith("}") for file in stats)))
        time.sleep(0.15)
        (missing if row % 5 == 0 else picture)(handler)

    with faults.host({f"/{row}": answer for row in range(shards * size)}) as server:
        urls = [f"{server.url}/{row}" for row in range(shards * size)]
        rows = {"sample_id": [str(i) for i in range(len(urls))], "url": urls}
        write_table(pa.table(rows), tmp_path / "candidates.parquet")
        for name in ("killed", "undisturbed"):
            options = {
                "candidates": str(tmp_path / "candidates.parquet"),
                "manifest": str(tmp_path / name / "part.parquet"),
                "counts": str(tmp_path / name / "part.json"),
                "images": IMAGES,
                "shard_rows": size,
                "state": str(tmp_path / name / "state"),
            }
            if name == "killed":
                killed_often(fetch_in_two, options, times=10, longest=1.5)
                asked = Counter(row for row, _ in begun)
            else:
                fetch.fetch_images(**options, environment={}, connections=2, processes=2)
    for name in ("part.parquet", "part.json"):
        whole = (tmp_path / "undisturbed" / name).read_bytes()
        assert (tmp_path / "killed" / name).read_bytes() == whole
    images = [
        dict(read_images(tmp_path / name / "part.parquet")) for name in ("killed", "undisturbed")
    ]
    assert images[0] == images[1]
    assert len(images[0]) == shards * size * 4 // 5
    assert not any(finished for _, finished in begun[: asked.total()])
    assert asked.total() > len(asked), "no kill hit the work"
    assert asked.total() - len(asked) <= 10 * 2 * size  # what two processes had begun


def test_a_worker_whose_job_was_killed_before_it_began_does_nothing(tmp_path: Path) -> None:
    arguments = {"urls": "", "output": str(tmp_path), "agent": "", "shard_rows": 1,
                 "connections": 1, "processes": 1, "images": {}, "parent": 1}  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-m", "countclip.data.fetch_worker", json.dumps(arguments)],
        env={"PYTHONPATH": SCRIPTS},
        capture_output=True,
    )
    assert (run.returncode, run.stdout, run.stderr) == (1, b"", b"")
