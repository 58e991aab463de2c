"""Links are asked for politely, a killed job goes on, and a dead line is no dead link."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.benchmarks import check_links
from countclip.runtime import network
from kill import killed_often
from loopback import Answer, Handler, Server, serving

HOME = Path(__file__).parents[2]
REQUEST = {"timeout": 30.0, "deadline": 60, "max_bytes": 100_000}  # nothing here waits for these


def png(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.effect_mandelbrot((40 + seed % 20, 40), (-2, -1, 1, 1), 20).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def web(answer: Answer) -> Iterator[dict[str, str]]:
    """The environment of a network where a proxy gives every answer."""
    with serving(Server(answer=answer)) as proxy:
        yield {"http_proxy": proxy.url, "https_proxy": proxy.url}


def listed(folder: Path, urls: list[str]) -> None:
    rows = [{"image_url": url, "text": "two cats", "number": 2} for url in urls]
    (folder / "list.json").write_text(json.dumps(rows))


def ask(folder: Path, environment: dict[str, str], **own) -> list[dict]:
    settings = {
        "request": REQUEST, "threads": 16, "per_host": 2, "pause": 0.0, "retries": 0,
    } | own  # fmt: skip
    check_links.check_links(
        str(folder / "list.json"),
        str(folder / "answers.parquet"),
        state=str(folder / "state"),
        environment=environment,
        **settings,
    )
    return pq.read_table(folder / "answers.parquet").to_pylist()


def hosts(n: int) -> list[str]:
    return [f"http://host{i % 20}.example/{i}.png" for i in range(n)]


# ---- politeness ----


def test_a_host_is_asked_by_few_at_a_time_and_left_alone_between(tmp_path) -> None:
    spans, lock = [], threading.Lock()

    def answer(handler: Handler) -> None:
        begin = time.monotonic()
        time.sleep(0.05)
        with lock:
            spans.append((urlsplit(handler.path).hostname, begin, time.monotonic()))
        handler.send(200, png())

    listed(tmp_path, [f"http://{'big' if i % 4 else 'small'}.example/{i}" for i in range(24)])
    with web(answer) as environment:
        ask(tmp_path, environment, per_host=2, pause=0.2)
    for host in ("big.example", "small.example"):
        own = sorted((begin, end) for name, begin, end in spans if name == host)
        for begin, _ in own:
            assert sum(b <= begin < e for b, e in own) <= 2
        for third, first in zip(own[2:], own, strict=False):
            assert third[0] - first[0] >= 0.2 + 0.05


def test_a_host_that_wants_quiet_gets_it_and_is_asked_again(tmp_path) -> None:
    times = []

    def answer(handler: Handler) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            handler.send(503, b"busy", Retry_After="1")
        else:
            handler.send(200, png())

    listed(tmp_path, [f"http://one.example/{i}" for i in range(4)])
    with web(answer) as environment:
        rows = ask(tmp_path, environment, per_host=1, retries=1)
    assert [row["http"] for row in rows] == [200] * 4
    assert len(times) == 5
    assert times[1] - times[0] >= 1


def test_a_host_that_wants_quiet_for_long_is_not_asked_again(tmp_path) -> None:
    asked = []

    def answer(handler: Handler) -> None:
        asked.append(handler.path)
        if "busy.example" in handler.path:
            handler.send(429, b"busy", Retry_After="3600")
        else:
            handler.send(200, png())

    listed(tmp_path, [f"http://{host}.example/{i}" for i in range(5) for host in ("busy", "ok")])
    with web(answer) as environment:
        rows = ask(tmp_path, environment, per_host=1, retries=2)
    assert sum("busy.example" in path for path in asked) == 1
    assert [row["http"] for row in rows] == [429, 200] * 5


def test_a_temporary_failure_is_asked_again_and_no_other(tmp_path) -> None:
    asked = []

    def answer(handler: Handler) -> None:
        path = urlsplit(handler.path).path
        asked.append(path)
        handler.send(int(path[1:4]), b"")

    listed(tmp_path, [f"http://one.example/{status}" for status in (404, 500, 429, 403)])
    with web(answer) as environment:
        rows = ask(tmp_path, environment, retries=2)
    assert [row["reason"] for row in rows] == ["http_404", "http_500", "http_429", "http_403"]
    assert sorted(asked) == ["/403", "/404", *["/429"] * 3, *["/500"] * 3]


# ---- kills ----


def ask_with_four(folder: Path, environment: dict[str, str]) -> None:
    print("ready", flush=True)
    ask(folder, environment, threads=4)


def test_a_job_killed_ten_times_ends_as_one_that_never_was(tmp_path) -> None:
    asked: dict[str, int] = {}

    def answer(handler: Handler) -> None:
        time.sleep(0.1)
        asked[handler.path] = asked.get(handler.path, 0) + 1
        number = int(Path(urlsplit(handler.path).path).stem)
        if number % 5:
            handler.send(200, png(number), "image/png")
        else:
            handler.send(404, b"gone")

    folder, plain = tmp_path / "killed", tmp_path / "plain"
    for place in (folder, plain):
        place.mkdir()
        listed(place, hosts(120))
    with web(answer) as environment:
        ask(plain, environment)
        asked.clear()
        (folder / "state").mkdir()
        (folder / "state/.7.partial.answer").write_bytes(b"{")  # a kill while it was written
        killed_often(ask_with_four, folder, environment, longest=0.5)
    assert (folder / "answers.parquet").read_bytes() == (plain / "answers.parquet").read_bytes()
    assert not (folder / "state").exists()
    # Each kill loses what four were just asking for, and what came after the last word of a host.
    assert 120 <= sum(asked.values()) <= 120 + 10 * 2 * 4


# ---- outages ----


def portal(handler: Handler) -> None:
    handler.send(200, b"<html>please log in</html>")


def login(handler: Handler) -> None:
    if "portal.example" in handler.path:
        portal(handler)
    else:
        handler.send(302, b"", Location="http://portal.example/login")


def refusing(handler: Handler) -> None:
    handler.send(502, b"no such host")


def filtering(handler: Handler) -> None:
    handler.send(403, b"blocked")


@pytest.mark.parametrize("answer", [portal, login, refusing, filtering])
def test_a_network_that_answers_alike_for_all_is_an_outage(tmp_path, answer) -> None:
    listed(tmp_path, hosts(60))
    (tmp_path / "answers.parquet").write_text("what came last year")
    with (
        web(answer) as environment,
        pytest.raises(check_links.OutageError, match="offline") as caught,
    ):
        ask(tmp_path, environment)
    assert "40 links in a row" in str(caught.value)
    assert (tmp_path / "answers.parquet").read_text() == "what came last year"
    assert not (tmp_path / "state").exists()  # nothing that a login page said is kept


def silent(*args, **kwargs):
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def private(host, port, *args, **kwargs):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.mark.parametrize(("names", "reason"), [(silent, "dns"), (private, "private_address")])
def test_names_that_lead_nowhere_are_an_outage(tmp_path, monkeypatch, names, reason) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with web(portal) as environment:
        port = urlsplit(environment["http_proxy"]).port
        listed(tmp_path, [url.replace(".example", f".example:{port}") for url in hosts(60)])
        with pytest.raises(check_links.OutageError, match=f"40 {reason}"):
            ask(tmp_path, {"http_proxy": "", "https_proxy": ""}, retries=1)


def test_a_black_hole_is_an_outage_within_the_time_of_its_silence(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(check_links, "SILENCE", 2.0)
    listed(tmp_path, hosts(60))
    with socket.create_server(("127.0.0.1", 0)) as hole:  # accepts, and never says a word
        proxy = f"http://127.0.0.1:{hole.getsockname()[1]}"
        with pytest.raises(check_links.OutageError):
            ask(
                tmp_path,
                {"http_proxy": proxy, "https_proxy": proxy},
                request={"timeout": 60.0, "deadline": 60.0, "max_bytes": 10},
            )


def test_a_line_that_goes_dead_midway_is_an_outage_and_what_came_before_is_kept(tmp_path) -> None:
    listed(tmp_path, hosts(100))
    asked, up = [], threading.Event()

    def answer(handler: Handler) -> None:
        asked.append(handler.path)
        if len(asked) > 30 and not up.is_set():
            handler.send(504, b"the line is down")
        else:
            handler.send(200, png(), "image/png")

    with web(answer) as environment:
        with pytest.raises(check_links.OutageError):
            ask(tmp_path, environment, threads=4)
        assert len(list((tmp_path / "state").iterdir())) == 30
        up.set()
        asked.clear()
        rows = ask(tmp_path, environment)
    assert 70 <= len(asked) <= 74  # the four of the job before may have been asking still
    assert all(row["body"] == png() for row in rows)


def test_many_dead_links_in_a_row_are_no_outage_while_a_witness_answers(tmp_path) -> None:
    """Also after a kill, when only the silent ones are left to ask."""
    listed(tmp_path, hosts(100))
    asked = []

    def answer(handler: Handler) -> None:
        asked.append(handler.path)
        if int(Path(urlsplit(handler.path).path).stem) < 20:
            handler.send(200, png(), "image/png")
        else:
            handler.send(502, b"gone")

    with web(answer) as environment:
        first = ask(tmp_path, environment, threads=2)
        assert [row["http"] for row in first] == [200] * 20 + [502] * 80
        assert 100 < len(asked) <= 103
        for row in first[:20]:
            check_links._save_answer(tmp_path / "state", row["index"], check_links.Answer(
                "", 200, row["final_url"], row["content_type"], row["body"],
            ))  # fmt: skip
        assert ask(tmp_path, environment, threads=2) == first


def test_a_short_list_of_dead_links_is_no_outage_if_hosts_differ(tmp_path) -> None:
    def answer(handler: Handler) -> None:
        handler.send(200, handler.path.encode())

    listed(tmp_path, hosts(3))
    with web(answer) as environment:
        assert len(ask(tmp_path, environment)) == 3
    with web(portal) as environment, pytest.raises(check_links.OutageError):
        ask(tmp_path, environment)


def test_a_short_list_whose_hosts_are_all_gone_needs_a_witness(tmp_path) -> None:
    def answer(handler: Handler) -> None:
        if "witness.example" in handler.path:
            handler.send(200, png(), "image/png")
        else:
            handler.send(502, b"no such host")

    listed(tmp_path, hosts(5))
    with web(answer) as environment:
        with pytest.raises(check_links.OutageError, match="countbench.request.witness"):
            ask(tmp_path, environment)
        rows = ask(tmp_path, environment, witness="http://witness.example/there.png")
    assert [row["http"] for row in rows] == [502] * 5
    with web(refusing) as environment, pytest.raises(check_links.OutageError):
        ask(tmp_path, environment, witness="http://witness.example/there.png")


def test_an_address_that_nobody_is_asked_for_vouches_for_no_login_page(tmp_path) -> None:
    listed(tmp_path, [*hosts(60), *(f"ftp://host.example/{i}.png" for i in range(60))])
    for _ in range(2):  # what the first run kept would stand in for an answer of the second
        with web(portal) as environment, pytest.raises(check_links.OutageError):
            ask(tmp_path, environment, threads=2)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("urls", "reasons"),
    [
        (["/data/a.jpg", "data/b.jpg"], "2 bad_url"),
        (["http://10.0.0.7/a.jpg", "C:/b.jpg", "http://localhost/"], "2 private_address and 1 bad"),
    ],
)
def test_a_list_without_a_link_is_refused_and_no_network_blamed(tmp_path, urls, reasons) -> None:
    listed(tmp_path, urls)
    with pytest.raises(ValueError, match=rf"no link of {len(urls)} can be requested \({reasons}"):
        ask(tmp_path, {"http_proxy": "http://127.0.0.1:9", "https_proxy": ""})
    assert not list(tmp_path.glob("*.parquet"))


def test_few_open_files_close_connections_and_lose_no_answer(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(check_links, "affordable_connections", lambda wanted, key: 2)
    connected = set()

    def answer(handler: Handler) -> None:
        connected.add(handler.client_address)
        handler.send(200, png(), "image/png")

    with web(answer) as environment:
        listed(tmp_path, [f"http://host{n % 3}.example/{n}.png" for n in range(12)])
        rows = ask(tmp_path, environment, per_host=2)
    assert [row["reason"] for row in rows] == [""] * 12
    assert len(connected) == 12  # none was kept open


def test_an_error_of_ours_is_no_dead_link(tmp_path, monkeypatch) -> None:
    def broken(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(network, "get", broken)
    listed(tmp_path, hosts(3))
    with pytest.raises(RuntimeError, match="a bug"):
        ask(tmp_path, {"http_proxy": "", "https_proxy": ""})
