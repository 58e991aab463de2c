"""What a job says where it cannot reach the network: what is missing, why, and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import faults
from countclip.runtime import network
from countclip.runtime.connection import connection
from countclip.runtime.files import sha256, write_table
from countclip.runtime.network import DownloadError

BODY = b"weights"
OTHERWISE = "set detector.weights to a file of yours"


def refused(folder: Path, url: str, environment: dict[str, str]) -> str:
    """The message of a job whose download fails."""
    with (
        pytest.raises(DownloadError) as caught,
        network.explained("the detector's weights", OTHERWISE),
    ):
        network.download(
            url, folder / "a.pt", session=network.session(environment, allowed=["127.0.0.0/8"]),
            size=len(BODY), sha256=sha256(BODY), partial=folder / "a.partial", retries=0,
        )  # fmt: skip
    assert OTHERWISE in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


DIRECT = {"http_proxy": "", "https_proxy": ""}


def test_nobody_listens_or_no_name_is_known(tmp_path: Path) -> None:
    with faults.host({}) as gone:
        pass
    said = refused(tmp_path, gone.url, DIRECT)
    assert "the detector's weights did not arrive" in said
    assert "this machine seems to be offline" in said
    assert "restore the network and run again" in said
    said = refused(tmp_path, "http://nowhere.invalid/a.pt", DIRECT)
    assert "name of nowhere.invalid is not resolved: this machine seems to be offline" in said
    said = refused(tmp_path, "https://x.example/a.pt", {"http_proxy": "", "https_proxy": gone.url})
    assert "the proxy of this machine: Failed to establish" in said


def test_a_host_that_answers_is_no_outage(tmp_path: Path) -> None:
    other = {"/other": faults.send(b"another"), "/no": faults.send(b"", status=403)}
    with faults.host(other | {"/gone": faults.send(b"", status=410)}) as host:
        for path, why in (
            ("/other", "the file there is another one"),
            ("/no", "127.0.0.1 refuses it"),
            ("/gone", "does not have it any more"),
        ):
            said = refused(tmp_path, host.url + path, DIRECT)
            assert why in said
            assert "offline" not in said


def test_long_reasons_end_with_a_whole_word() -> None:
    error = DownloadError("http://x.example/", "tls", "certificate verify failed " * 40)
    assert error.detail.endswith("certificate verify ...") or error.detail.endswith("failed ...")
    assert len(error.detail) <= 300


def test_weights_of_open_clip_say_what_to_do(tmp_path: Path) -> None:
    code = "from countclip.model.clip import Clip; Clip('RN50-quickgelu', 'openai')"
    environment = {
        "PYTHONPATH": str(Path(network.__file__).parents[2]),
        "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HOME": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert "ConnectionError: model.pretrained openai" in last
    assert "name a .safetensors file of yours" in last


def test_the_miniature_says_that_it_is_no_internet(tmp_path: Path) -> None:
    row = {"url": ["http://a.miniature.example/"], "kind": ["placeholder"], "payload": ["{}"]}
    write_table(pa.table(row), tmp_path / "world.parquet")
    with connection("miniature", tmp_path / "world.parquet") as environment:
        for url in ("http://img.somewhere.example/a.pt", "https://img.somewhere.example/a.pt"):
            said = refused(tmp_path, url, environment)
            assert "the miniature has no host 'img.somewhere.example', set network internet" in said
