"""Addresses in a user's files that cannot be requested are said before anything runs."""

import copy
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from countclip.data.addresses import check_addresses
from countclip.settings import config_files
from countclip.settings.common import ConfigError

DEFAULT = config_files.default()
WEB = "https://img.somewhere.example/1.jpg"
OURS = "http://img.miniature.example/1.jpg"


@pytest.fixture
def config() -> dict:
    return copy.deepcopy(DEFAULT)


def local(config: dict, folder: Path, urls: list[str | None], network: str) -> None:
    columns = {"URL": pa.array(urls, pa.string()), "TEXT": ["two dogs"] * len(urls)}
    pq.write_table(pa.table(columns), folder / "mine.parquet")
    config["network"] = network
    config["laion"] |= {"source": "local", "folder": str(folder), "parts": ["mine"]}
    config["countbench"]["list"] = "list.json"


@pytest.mark.parametrize(
    ("urls", "network", "message"),
    [
        ([None, "images/1.jpg", "C:\\images\\2.jpg"], "internet", "are paths.*http.server"),
        (["s3://bucket/1.jpg"], "miniature", "are paths and the like, such as 's3://bucket"),
        ([WEB], "miniature", "on the internet, and network is miniature; set network: internet"),
        ([OURS], "internet", "in the miniature's world alone, and network is internet"),
    ],
)
def test_metadata_that_cannot_be_fetched_is_refused(
    config: dict, tmp_path: Path, urls: list, network: str, message: str
) -> None:
    local(config, tmp_path, urls, network)
    with pytest.raises(ConfigError, match=rf"laion.folder: .*mine.parquet.*{message}"):
        check_addresses(config)


@pytest.mark.parametrize(
    ("urls", "network"),
    [([WEB, "a.jpg"], "internet"), ([OURS, WEB], "miniature"), ([], "internet")],
)
def test_metadata_that_can_be_fetched_in_part_is_for_the_fetch(
    config: dict, tmp_path: Path, urls: list, network: str
) -> None:
    local(config, tmp_path, urls, network)
    check_addresses(config)


def test_benchmarks_by_link_are_on_the_networks_of_the_config(config: dict, tmp_path: Path) -> None:
    path = tmp_path / "pixmo.parquet"
    pq.write_table(pa.table({"image_url": [WEB], "count": [2], "label": ["dogs"]}), path)
    config["benchmarks"]["far"] = {"source": "pixmo_count", "path": str(path)}
    with pytest.raises(ConfigError, match=r"benchmarks.far: .*network is mini.*benchmarks.far.ima"):
        check_addresses(config)
    config["benchmarks"]["far"]["images"] = str(tmp_path)
    check_addresses(config)


def test_a_list_of_paths_and_downloads_of_the_internet_are_refused(
    config: dict, tmp_path: Path
) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"image_url": "/data/1.jpg", "text": "two dogs", "number": 2}]))
    config["countbench"]["list"] = str(path)
    with pytest.raises(ConfigError, match=r"countbench.list: .*paths.*`source: folder`"):
        check_addresses(config)
    config["countbench"] |= {"list": "results/countbench/list.json", "list_url": WEB}
    with pytest.raises(ConfigError, match=r"countbench.list_url: .*network is miniature"):
        check_addresses(config)
    config["countbench"] |= DEFAULT["countbench"]
    config["detector"] |= {"weights": "results/weights/a.pt", "download": {"url": WEB, "bytes": 9}}
    with pytest.raises(ConfigError, match=r"detector.download: .*network is miniature"):
        check_addresses(config)


def test_the_configs_of_the_project_pass(config: dict) -> None:
    check_addresses(config)
