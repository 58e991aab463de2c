"""The manifest says what there is, and a part arrives whole, verified and once, or not at all."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from countclip.data import laion
from countclip.runtime.files import sha256
from countclip.runtime.network import DownloadError
from hub import COMMIT, ENDPOINT, NARROW, TOKEN, Hub, serving
from kill import killed_often

HEAD = "part\turl\tbytes\tsha256\n"
DIGEST = "0" * 64
BODY = bytes(range(256)) * 500
SPARK = "5b54c5d5-bbcf-484d-a2ce-0d6f73df1a36-c000.snappy.parquet"
FIRST = f"part-00000-{SPARK}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    files = {FIRST: BODY, f"part-00001-{SPARK}": BODY[::-1], "README.md": b"# LAION"}
    with serving(Hub(files)) as running:
        yield running


def make(hub: Hub, path: Path, **changes) -> Path:
    settings = {
        "source": "relaion400m", "repository": None, "revision": "main", "endpoint": ENDPOINT,
        "folder": None, "files": [],
    } | changes  # fmt: skip
    laion.make_manifest(path / "laion.tsv", **settings, environment=hub.environment)
    return path / "laion.tsv"


def download(hub: Hub, path: Path, part: str = "part-00000", source: str = "relaion400m") -> Path:
    laion.download_part(
        part, path / f"{part}.parquet", manifest=path / "laion.tsv", source=source,
        endpoint=ENDPOINT, state=path / "state", environment=hub.environment,
    )  # fmt: skip
    return path / f"{part}.parquet"


def test_the_manifest_pins_the_commit_and_names_the_parts(hub: Hub, tmp_path: Path) -> None:
    parts = laion.read_manifest(make(hub, tmp_path))
    assert list(parts) == ["part-00000", "part-00001"]
    url = f"{ENDPOINT}/datasets/laion/relaion400m/resolve/{COMMIT}/{FIRST}"
    assert parts["part-00000"] == (url, len(BODY), sha256(BODY))
    hub.branches["main"] = "f" * 40  # the branch goes on; who has the manifest stays
    assert download(hub, tmp_path).read_bytes() == BODY
    moved = laion.read_manifest(make(hub, tmp_path))
    assert f"/resolve/{'f' * 40}/" in moved["part-00000"].url


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([f"meta/part-00031-{SPARK}"], ["part-00031"]),
        (["0.parquet", "metadata/1.zstd.parquet"], ["0", "1"]),
        (["train/a.parquet", "test/a.parquet"], ["train.a", "test.a"]),
        (["00f1a2b3c4d5e6f7.parquet"], ["00f1a2b3c4d5e6f7"]),
        (["a b&c.parquet"], ["a_b_c"]),
    ],
)
def test_part_names(paths: list[str], names: list[str]) -> None:
    assert laion.part_names(paths) == names


def test_names_that_would_clash_are_an_error() -> None:
    with pytest.raises(ValueError, match="several files would be named a_b"):
        laion.part_names(["a b.parquet", "a&b.parquet"])


def test_other_repositories_and_none(hub: Hub, tmp_path: Path) -> None:
    hub.repository = "somebody/laion400m"
    path = make(hub, tmp_path, source="laion400m", repository="somebody/laion400m")
    assert "/datasets/somebody/laion400m/resolve/" in laion.read_manifest(path)["part-00000"].url
    with pytest.raises(ValueError, match=r"answers 404.*relaion400m.*laion\.repository.*local"):
        make(hub, tmp_path, source="laion400m")
    hub.files = {"README.md": b"# LAION"}
    with pytest.raises(ValueError, match=r"has no \.parquet file"):
        make(hub, tmp_path, repository="somebody/laion400m")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, r"accept the terms.*export HF_TOKEN"),
        ("hf_expired", r"401: your HF_TOKEN is not valid"),
        (NARROW, r"403: .*Accept the terms on that page"),
    ],
)
@pytest.mark.parametrize("asked", ["manifest", "part"])
def test_a_gated_hub_says_what_to_do(
    hub: Hub, tmp_path: Path, monkeypatch, token: str | None, message: str, asked: str
) -> None:
    make(hub, tmp_path)
    hub.gated = True
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(PermissionError, match=message) as caught:
        (make if asked == "manifest" else download)(hub, tmp_path)
    assert "http://hub.example/datasets/laion/relaion400m" in str(caught.value)
    assert "hf_" not in str(caught.value)
    assert not (tmp_path / "part-00000.parquet").exists()


def test_the_token_goes_to_the_hub_alone(
    hub: Hub, tmp_path: Path, monkeypatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    hub.gated = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    manifest = make(hub, tmp_path)
    download(hub, tmp_path)
    assert {request["authorization"] for request in hub.asked("hub.example")} == {f"Bearer {TOKEN}"}
    assert [request["authorization"] for request in hub.asked("cdn.example")] == [None]
    manifest.write_text(manifest.read_text().replace("hub.example", "cdn.example"))
    with pytest.raises(FileNotFoundError):  # a manifest may name any host, which gets no token
        download(hub, tmp_path, "part-00001")
    assert {request["authorization"] for request in hub.asked("cdn.example")} == {None}
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(TOKEN.encode() in file.read_bytes() for file in written)
    assert TOKEN not in caplog.text


def test_download_is_the_file_of_the_manifest_and_is_asked_for_once(
    hub: Hub, tmp_path: Path
) -> None:
    make(hub, tmp_path)
    path = download(hub, tmp_path)
    assert path.read_bytes() == BODY
    path.unlink()  # as Snakemake does before it runs a job again
    asked = len(hub.requests)
    assert download(hub, tmp_path).read_bytes() == BODY
    assert len(hub.requests) == asked
    path.unlink()
    kept = tmp_path / f"state/{sha256(BODY)}.parquet"
    kept.write_bytes(bytes(len(BODY)))  # broken on disk: that does not verify
    assert download(hub, tmp_path).read_bytes() == BODY
    assert len(hub.requests) == asked + 2


def test_download_goes_on_after_answers_that_end_early(hub: Hub, tmp_path: Path) -> None:
    make(hub, tmp_path)
    hub.cuts = 3
    assert download(hub, tmp_path).read_bytes() == BODY
    ranges = [request["range"] for request in hub.asked("cdn.example")]
    assert ranges == [None, "bytes=64000-", "bytes=96000-", "bytes=112000-"]


def test_another_file_is_refused(hub: Hub, tmp_path: Path) -> None:
    make(hub, tmp_path)
    hub.lies = True
    with pytest.raises(DownloadError, match="wrong_sha256"):
        download(hub, tmp_path)
    assert not (tmp_path / "part-00000.parquet").exists()
    hub.lies = False
    assert download(hub, tmp_path).read_bytes() == BODY


def test_unknown_part_names_those_there_are(hub: Hub, tmp_path: Path) -> None:
    make(hub, tmp_path)
    with pytest.raises(ValueError, match="no part 'part-9'; laion.parts can be any of part-00000"):
        download(hub, tmp_path, "part-9")


def test_an_old_manifest_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    manifest = make(hub, tmp_path)
    hub.files.clear()
    with pytest.raises(FileNotFoundError, match=f"gone .404., but {manifest} names it: delete"):
        download(hub, tmp_path)


def test_a_hub_that_cannot_be_reached_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.environment = {}
    with pytest.raises(ConnectionError, match="http://127.0.0.1:9 cannot be reached"):
        make(hub, tmp_path, endpoint="http://127.0.0.1:9")


def test_files_of_ones_own_are_linked_to(hub: Hub, tmp_path: Path) -> None:
    own = tmp_path / "my files"
    own.mkdir()
    (own / FIRST).write_bytes(BODY)
    make(hub, tmp_path, source="local", folder=str(own), files=[str(own / FIRST)])
    path = download(hub, tmp_path, source="local")
    assert path.read_bytes() == BODY
    assert path.resolve() == own / FIRST
    path.unlink()
    (own / FIRST).write_bytes(BODY[::-1])
    with pytest.raises(ValueError, match="is not .or no longer. the file"):
        download(hub, tmp_path, source="local")
    with pytest.raises(DownloadError, match="bad_url"):  # a foreign manifest reads no files here
        download(hub, tmp_path)
    assert hub.requests == []
    with pytest.raises(ValueError, match="has no .parquet file named as laion.parts"):
        make(hub, tmp_path, source="local", folder=str(own))


def download_alone(folder: Path, environment: dict[str, str]) -> None:
    print("ready", flush=True)
    laion.download_part(
        "part-00000", folder / "out.parquet", manifest=folder / "laion.tsv", source="relaion400m",
        endpoint="http://hub.example", state=folder / "state", environment=environment,
    )  # fmt: skip


def test_killed_often_it_never_asks_again_for_what_has_arrived(hub: Hub, tmp_path: Path) -> None:
    body = os.urandom(4_000_000)
    hub.files = {FIRST: body}
    hub.chunk, hub.pause = 20_000, 0.02  # four seconds in all
    make(hub, tmp_path)
    killed_often(download_alone, tmp_path, hub.environment, times=10, seed=3, longest=0.8)
    assert (tmp_path / "out.parquet").read_bytes() == body
    starts = [int((request["range"] or "bytes=0-")[6:-1]) for request in hub.asked("cdn.example")]
    assert starts == sorted(starts)
    assert len([start for start in starts if start]) >= 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("part,url\n", "must name the columns part, url, bytes and sha256, separated by tabs"),
        (f"{HEAD}a\tu\t1\t{DIGEST}\na\tu\t1\t{DIGEST}\n", "line 3: a is listed twice"),
        (f"{HEAD}../a\tu\t1\t{DIGEST}\n", "line 2: '../a' is no name"),
        (f"{HEAD}a\tu\tmany\t{DIGEST}\n", "line 2: bytes is 'many'"),
        (f"{HEAD}a\tu\t1\tabc\n", "line 2: sha256"),
        (f"{HEAD}a\n", "line 2: must have 4 fields, as the first line; it has 1"),
    ],
)
def test_manifest_errors_say_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "laion.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        laion.read_manifest(tmp_path / "laion.tsv")
