"""Errors of this machine are no fault of a host or an image; open files bound the connections."""

import errno
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

import faults
from countclip.runtime import machine
from countclip.runtime.machine import OF_CONNECTIONS, explain, machine_error

SCRIPTS = Path(machine.__file__).parents[2]


def run(code: str, *arguments: str) -> str:
    """What a program prints, in a process that may spoil its own limits."""
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    environment = {k: v for k, v in environment.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout + done.stderr + f"exit {done.returncode}"


def test_a_full_disk_is_this_machines_and_says_what_to_do() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        Path("/dev/full").write_text("x")
    found = machine_error(RuntimeError("shard 3 failed", caught.value))
    assert found is caught.value
    assert "No space left on device" in explain(found)
    assert "free space" in explain(found)


def test_what_libraries_wrap_is_found() -> None:
    inner = OSError(errno.ENFILE, "Too many open files in system")
    outer = ValueError("cannot read the image")
    outer.__cause__ = inner
    assert machine_error(KeyError("x", outer)) is inner


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        OSError(errno.ENETUNREACH, "no route"),
        OSError("image file is truncated"),
        ssl.SSLError(errno.EPERM, "OpenSSL's number 1"),
        MemoryError("a hostile image asks for too much"),
    ],
)
def test_what_hosts_and_images_cause_is_theirs(error: Exception) -> None:
    assert machine_error(error) is None


def test_a_host_cannot_make_a_refused_right_this_machines() -> None:
    error = PermissionError(errno.EACCES, "Permission denied")  # connecting to a broadcast address
    assert machine_error(error, OF_CONNECTIONS) is None
    assert machine_error(error) is error


def test_short_memory_is_this_machines() -> None:
    code = """
import resource
from countclip.runtime.machine import machine_error
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
print(repr(machine_error(MemoryError())))
"""
    assert "OSError(12, 'Cannot allocate memory')" in run(code)


CONNECTIONS = """
import resource, sys
from countclip.runtime.machine import affordable_connections
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(affordable_connections(wanted, "fetch.connections"))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((200, 4000, 256), ["256", str(96 + 8 * 256)]),  # raised as far as needed
        ((200, 416, 256), ["40", "416"]),  # (416 - 96) / 8
        ((50, 50, 64), ["1", "50"]),
        ((1000, 4000, 16), ["16", "1000"]),  # enough: left alone
    ],
)
def test_open_files_bound_connections(limits: tuple[int, ...], expected: list[str]) -> None:
    said = run(CONNECTIONS, *map(str, limits)).splitlines()
    assert [line for line in said if line.isdecimal()] == expected
    is_warned = any("not 256 as fetch.connections says" in line for line in said)
    assert is_warned == (limits[1:] == (416, 256))


NO_FILES = """
import os, resource, sys
from countclip.data.images import decode
from countclip.runtime import network
session = network.session({}, allowed=["127.0.0.0/8"])
resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
body = open(sys.argv[1], "rb").read()
"".encode("idna")  # imports as it goes
taken = []
def exhaust():
    try:
        while True:
            taken.append(os.open("/dev/null", 0))
    except OSError:
        pass
for what in (lambda: network.get(sys.argv[2], session=session, max_bytes=9, timeout=5),
             lambda: network.get("http://nobody.example/", session=session, max_bytes=9),
             lambda: decode(body)):
    exhaust()
    try:
        what()
    except Exception as error:
        found = error
    for file in taken:
        os.close(file)
    taken.clear()
    print(type(found).__name__, getattr(found, "errno", None))
"""


def test_without_files_no_host_and_no_image_is_blamed(tmp_path: Path) -> None:
    (tmp_path / "image.webp").write_bytes(faults.file("WEBP"))
    with faults.host({"/": faults.send(b"x")}) as host:
        said = run(NO_FILES, str(tmp_path / "image.webp"), f"{host.url}/")
    assert said.splitlines() == [f"OSError {errno.EMFILE}"] * 3 + ["exit 0"]
