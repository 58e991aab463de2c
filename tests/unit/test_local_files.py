"""Metadata that names files in place of addresses: read below one folder of the config, or not."""

import json
import os
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.data import fetch, filtering
from countclip.data.addresses import check_addresses
from countclip.data.shards import read_images
from countclip.runtime.files import sha256
from countclip.settings import config_files
from countclip.settings.common import ConfigError

FILTER = {
    "several": "largest", "non_counting_ratio": 1.0, "seed": 0, "nsfw_drop": [],
    "similarity_min": None, "min_side": None,
}  # fmt: skip
IMAGES = {
    "image_size": 16, "resize_mode": "keep_ratio", "encode_format": "jpg", "encode_quality": 95,
    "timeout": 5.0, "deadline": 5.0, "max_bytes": 1_000_000, "max_pixels": 1_000_000,
    "private_networks": [],
}  # fmt: skip


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


@pytest.fixture
def folder(tmp_path) -> Path:
    """An allowed folder of images, with links out of it, beside files that nothing may read."""
    allowed = tmp_path / "allowed"
    for seed, name in enumerate(("a.png", "below/b c%20#.png", "ü.png", "deep/er/d.png")):
        draw(allowed / name, seed)
    draw(tmp_path / "secret.png", 9)
    draw(tmp_path / "allowed_too/e.png", 10)  # a name that begins as the folder's
    (allowed / "file.png").symlink_to("../secret.png")
    (allowed / "out").symlink_to("../allowed_too")
    (allowed / "near.png").symlink_to("a.png")
    os.mkfifo(allowed / "pipe.png")
    (allowed / "page.html").write_text("<html>")
    return allowed


def fetched(
    table: pa.Table, folder: Path | None, percent: int = 0
) -> tuple[list[dict], dict[str, bytes]]:
    """The manifest and the images of metadata, filtered and fetched without a network."""
    here = Path(folder or ".").parent / "run"
    part, candidates = here / "part.parquet", here / "candidates.parquet"
    here.mkdir(exist_ok=True)
    pq.write_table(table, part)
    filtering.filter_part(
        part=part, candidates=candidates, counts=here / "counts.json", state=here / "state/filter",
        files=folder is not None, **FILTER,
    )  # fmt: skip
    manifest = here / "images/part.parquet"
    fetch.fetch_images(
        candidates=candidates, manifest=manifest, counts=here / "images/part.json", images=IMAGES,
        state=here / "state/fetch", environment={}, success_percent_min=percent, folder=folder,
    )  # fmt: skip
    return pq.read_table(manifest).to_pylist(), dict(read_images(manifest))


def test_a_column_of_files_and_addresses_of_files(folder):
    """In an order of columns and cases that copies of LAION have."""
    root = folder.parent
    names = {
        "a.png": "ok",
        "below/b c%20#.png": "ok",  # a name, not an address: nothing is unquoted
        "u\u0308.png": "ok",
        str(folder / "deep/er/d.png"): "ok",
        "near.png": "ok",
        "below/../a.png": "ok",
        "gone.png": "missing",
        "page.html": "not_an_image",
        "pipe.png": "unreadable",
        "deep": "unreadable",
        "../secret.png": "forbidden_file",
        "below/../../secret.png": "forbidden_file",
        str(root / "secret.png"): "forbidden_file",
        "file.png": "forbidden_file",
        "out/e.png": "forbidden_file",
        "../allowed_too/e.png": "forbidden_file",
        "/etc/passwd": "forbidden_file",
        "a.png\0": "forbidden_file",
        "x" * 300: "forbidden_file",
    }
    urls = {
        f"file://{quote(str(folder / 'below/b c%20#.png'))}": "ok",
        f"FILE://localhost{folder}/a.png": "ok",
        f"file:{folder}/a.png": "ok",
        f"file://{folder}/%2e%2e/secret.png": "forbidden_file",
        f"file://{folder}_too/e.png": "forbidden_file",
        f"file://{folder}/file.png": "forbidden_file",
        f"file://elsewhere{folder}/a.png": "forbidden_file",
        f"file://{folder}/a.png?x": "forbidden_file",
        "file:///proc/self/environ": "forbidden_file",
        "file:////etc/passwd": "forbidden_file",
        "file://": "forbidden_file",
        "a.png": "bad_url",
        "http://127.0.0.1/x.png": "private_address",
    }
    rows = [(name, None) for name in names] + [(None, url) for url in urls] + [(" ", "a.png")]
    columns = {"File": [name for name, _ in rows], "TEXT": ["two dogs"] * len(rows)}
    table = pa.table(columns | {"URL": [url for _, url in rows]})
    manifest, images = fetched(table, folder)
    statuses = [row["status"] for row in manifest]
    assert statuses == [*names.values(), *urls.values(), "bad_url"]
    assert len(images) == statuses.count("ok") == 9
    for row in manifest:
        if row["status"] == "ok":
            assert sha256(images[row["key"]]) == row["sha256"]
            assert (row["width"], row["height"]) == (30, 20)
    secret = (folder.parent / "secret.png").read_bytes()
    assert secret not in images.values()
    counts = json.loads((folder.parent / "run/images/part.json").read_text())
    assert counts["statuses"] == dict(Counter(statuses))


def test_a_column_of_files_may_stand_alone(folder):
    table = pa.table({"file": ["a.png", "deep/er/d.png"], "caption": ["two cats", "a cat"]})
    manifest, images = fetched(table, folder, percent=100)
    assert [row["url"] for row in manifest] == ["file:a.png", "file:deep/er/d.png"]
    assert list(images.values()) == [(folder / row["url"][5:]).read_bytes() for row in manifest]
    (folder / "a.png").write_bytes((folder / "ü.png").read_bytes())
    with pytest.raises(ValueError, match=r"a.png: has changed since .*part.parquet listed it"):
        dict(read_images(folder.parent / "run/images/part.parquet"))


def test_a_folder_that_is_a_link_is_that_folder(folder):
    link = folder.parent / "link"
    link.symlink_to("allowed")
    urls = [f"file://{link}/a.png", f"file://{folder}/a.png", "file:a.png", "file:file.png"]
    found = []
    for url in urls:
        try:
            found.append(fetch.local_file(url, link).name)
        except ValueError:
            found.append("")
    assert found == ["a.png", "a.png", "a.png", ""]


def test_without_a_folder_no_file_is_read(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pa.table({"url": [f"file://{folder}/a.png"], "file": ["a.png"], "text": ["two dogs"]})
    with pytest.raises(RuntimeError, match="only 0 of 1 URLs .* bad_url"):
        fetched(table, None)
    with pytest.raises(ValueError, match=r"no column for the url.*set laion.images to the folder"):
        fetched(table.drop_columns("url"), None)


def test_where_files_may_lie_is_said_at_the_start(folder):
    config = config_files.default()
    table = pa.table({"file": ["a.png"], "text": ["two dogs"]})
    pq.write_table(table, folder.parent / "mine.parquet")
    config["laion"] |= {"source": "local", "folder": str(folder.parent), "parts": ["mine"]}
    with pytest.raises(ConfigError, match=r"mine.parquet are paths .*'file:a.png'.*laion.images"):
        check_addresses(config)
    config["laion"]["images"] = str(folder)
    check_addresses(config)
    table = pa.table({"url": ["images/a.png"], "text": ["two dogs"]})
    pq.write_table(table, folder.parent / "mine.parquet")
    with pytest.raises(ConfigError, match="are paths and the like, such as 'images/a.png'"):
        check_addresses(config)
