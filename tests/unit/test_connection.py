"""The miniature's server: a process that lives as long as the block and as its parent."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
import requests

from countclip.runtime.connection import SCRIPTS, check_proxies, connection
from countclip.runtime.files import write_table

GOOD = ("http://proxy:3128", "https://u:p@10.0.0.1:8080/", "proxy.example:3128", "[::1]:3128")
BAD = {
    "socks://127.0.0.1:1080": "kind 'socks' is not supported",
    "socks5h://h:1": "kind 'socks5h' is not supported",
    "htp://h:3128": "kind 'htp' is not supported",
    "http://h:port": "no address of a proxy",
    "http://": "no address of a proxy",
    "http:/h:3128": "no address of a proxy",
    "http://two words:80": "no address of a proxy",
    "h:99999": "no address of a proxy",
}


@pytest.mark.parametrize("key", ["http", "https", "all"])
@pytest.mark.parametrize("proxy", BAD)
def test_a_proxy_that_cannot_be_used_is_named(key: str, proxy: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){key}_proxy .*{BAD[proxy]}.*http://HOST:PORT"):
        check_proxies({key: proxy})


@pytest.mark.parametrize("proxy", GOOD)
def test_a_proxy_that_can_be_used_passes(proxy: str) -> None:
    check_proxies({"http": proxy, "https": proxy, "all": "socks://unused:1", "ftp": "x://"})


def test_a_proxys_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:secret@h:1080")
    with (
        pytest.raises(ValueError, match=r"ALL_PROXY .*'socks5://...@h:1080'") as caught,
        connection("internet"),
    ):
        pass
    assert "secret" not in str(caught.value)


URL = "http://img.miniature.example/gone.png"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    path = tmp_path / "world.parquet"
    rows = [{"url": URL, "kind": "placeholder", "payload": "{}"}]
    write_table(pa.Table.from_pylist(rows), path)
    return path


def answers(proxy: str) -> bool:
    try:
        return requests.get(URL, proxies={"http": proxy}, timeout=30).status_code == 200
    except requests.exceptions.ConnectionError:  # nobody listens
        return False


def servers() -> list[psutil.Process]:
    """The miniature's servers among the children of this process, which may have others."""
    children = psutil.Process().children()
    return [child for child in children if "miniature.server" in child.cmdline()]


def test_the_server_ends_with_its_block(world: Path) -> None:
    with connection("miniature", world) as first, connection("miniature", world) as second:
        proxies = {first["http_proxy"], second["https_proxy"]}
        assert len(proxies) == 2
        assert all(map(answers, proxies))
        assert len(servers()) == 2
    assert not any(map(answers, proxies))
    assert servers() == []


def test_the_server_ends_with_a_block_that_fails(world: Path) -> None:
    with pytest.raises(ZeroDivisionError), connection("miniature", world):
        raise ZeroDivisionError
    assert servers() == []


PARENT = """
import sys, time
from countclip.runtime.connection import connection
with connection("miniature", sys.argv[1]) as environment:
    print(environment["http_proxy"], flush=True)
    time.sleep(600)
"""


def test_the_server_ends_with_a_parent_that_is_killed(world: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(world)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(SCRIPTS)}
    ) as parent:
        proxy = parent.stdout.readline().strip()
        assert answers(proxy)
        parent.kill()
    end = time.monotonic() + 60
    while answers(proxy):
        assert time.monotonic() < end, "the server outlives its parent"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"no table" * 9, "Parquet magic bytes not")]
)
def test_a_world_that_is_missing_or_broken_is_named(world: Path, content, reason: str) -> None:
    world.unlink()
    if content is not None:
        world.write_bytes(content)
    with pytest.raises(RuntimeError, match=f"{world}: .* did not start") as error:
        connection("miniature", world).__enter__()
    assert reason in str(error.value)
    assert len(str(error.value)) < 3000
    assert servers() == []


def test_a_server_that_goes_away_is_in_the_log(world: Path, caplog) -> None:
    with connection("miniature", world):
        (server,) = servers()
        server.kill()
        os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)  # its exit code is Popen's to read
    assert f"{world}: the miniature's server ended early\nexit code -9" in caplog.text


SERVE = """
import runpy, sys
sys.argv = ["miniature.server", sys.argv[1]]
runpy.run_module("miniature.server", run_name="__main__")
print(*sys.modules)
"""


def test_the_server_starts_without_what_is_slow_to_import(world: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(world)], stdin=subprocess.DEVNULL,
        env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = set(done.stdout.splitlines()[1].split())
    assert "pyarrow" in imported
    assert imported.isdisjoint({"torch", "pandas", "matplotlib", "requests", "tqdm"})
