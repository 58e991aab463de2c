"""The manifest is checked line by line, and a part arrives whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from countclip import laion
from countclip.connection import connection
from countclip.files import sha256, write_table
from countclip.network import DownloadError

HEAD = "part\turl\tbytes\tsha256\n"
DIGEST = "0" * 64


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict]:
    """A web that has one file, and a manifest that describes it."""
    (tmp_path / "part.parquet").write_bytes(bytes(range(256)) * 500)
    url = "http://hub.miniature.example/part.parquet"
    world = {"url": [url], "kind": ["file"], "payload": ['{"path": "part.parquet"}']}
    write_table(pa.table(world), tmp_path / "world.parquet")
    digest = sha256(tmp_path / "part.parquet")
    (tmp_path / "laion.tsv").write_text(f"{HEAD}part-00000\t{url}\t128000\t{digest}\n")
    with connection("miniature", tmp_path / "world.parquet") as environment:
        yield {
            "manifest": tmp_path / "laion.tsv",
            "state": tmp_path / "state",
            "environment": environment,
        }


def test_download_is_the_file_of_the_manifest(hub: dict, tmp_path: Path) -> None:
    laion.download_part("part-00000", tmp_path / "out.parquet", **hub)
    assert sha256(tmp_path / "out.parquet") == sha256(tmp_path / "part.parquet")
    assert not list((tmp_path / "state").iterdir())


def test_download_goes_on_where_it_was_killed(hub: dict, tmp_path: Path) -> None:
    entry = laion.read_manifest(hub["manifest"])["part-00000"]
    partial = tmp_path / "state" / f"part-00000-{entry.sha256[:16]}.partial"
    partial.parent.mkdir()
    partial.write_bytes((tmp_path / "part.parquet").read_bytes()[:100_000])
    laion.download_part("part-00000", tmp_path / "out.parquet", **hub)
    assert sha256(tmp_path / "out.parquet") == entry.sha256


def test_another_file_is_refused(hub: dict, tmp_path: Path) -> None:
    (tmp_path / "part.parquet").write_bytes(b"x" * 128_000)
    with pytest.raises(DownloadError, match="wrong_sha256"):
        laion.download_part("part-00000", tmp_path / "out.parquet", **hub)
    assert not (tmp_path / "out.parquet").exists()


def test_unknown_part_names_those_there_are(hub: dict, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no part 'part-9'; laion.parts can be any of part-00000"):
        laion.download_part("part-9", tmp_path / "out.parquet", **hub)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("part,url\n", "columns are"),
        (f"{HEAD}a\tu\t1\t{DIGEST}\na\tu\t1\t{DIGEST}\n", "line 3: a is listed twice"),
        (f"{HEAD}../a\tu\t1\t{DIGEST}\n", "line 2: '../a' is no name"),
        (f"{HEAD}a\tu\tmany\t{DIGEST}\n", "line 2: bytes is 'many'"),
        (f"{HEAD}a\tu\t1\tabc\n", "line 2: sha256"),
        (f"{HEAD}a\n", "line 2: bytes is None"),
    ],
)
def test_manifest_errors_say_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "laion.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        laion.read_manifest(tmp_path / "laion.tsv")
