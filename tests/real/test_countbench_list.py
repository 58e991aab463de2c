"""The real list of CountBench reads as it is, every fault of its links is told apart, and a machine
that is offline does not bury it."""

import socket
from collections import Counter

import pytest

import audit as benchmark
import internet
from countclip.benchmarks import check_links, countbench

ADDRESSES = "countbench/CountBench.json"


def test_every_row_reads(shared) -> None:
    rows = countbench.load(shared / ADDRESSES)
    assert [row.index for row in rows] == list(range(540))
    assert Counter(row.number for row in rows) == dict.fromkeys(range(2, 11), 60)


def test_what_is_found_is_what_was_planned(shared, tmp_path) -> None:
    """437 of the links are https: their certificates are checked too."""
    urls = [row.url for row in countbench.load(shared / ADDRESSES)]
    fates = internet.plan(urls)
    assert {fate.status for fate in fates.values()} == {*countbench.STATUSES, "re-encoded"}
    table, _ = benchmark.found_of(str(shared / ADDRESSES), fates, tmp_path, pause=0.0)
    wrong = table[table["planned"] != table["status"]]
    assert wrong.empty, wrong[["url", "planned", "status", "detail"]].to_string()
    again = table["detail"].str.startswith("re-encoded since 2023-02-01")
    assert again.tolist() == [fates[url].status == "re-encoded" for url in urls]


@pytest.fixture(params=["refused", "no names", "black hole"])
def offline(request, monkeypatch):
    """The environment of a machine that is cut off, in three ways."""
    if request.param == "refused":
        yield {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    elif request.param == "no names":

        def resolve(*arguments, **options):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        yield {"http_proxy": "", "https_proxy": ""}
    else:
        monkeypatch.setattr(check_links, "SILENCE", 3.0)  # half a minute for everybody else
        with socket.create_server(("127.0.0.1", 0), backlog=64) as hole:
            proxy = f"http://127.0.0.1:{hole.getsockname()[1]}"
            yield {"http_proxy": proxy, "https_proxy": proxy}


def test_offline_the_audit_stops_early_and_loses_nothing(shared, tmp_path, offline) -> None:
    (tmp_path / "answers.parquet").write_text("of last year")
    with pytest.raises(check_links.OutageError, match="offline"):
        check_links.check_links(
            str(shared / ADDRESSES),
            str(tmp_path / "answers.parquet"),
            state=str(tmp_path / "state"),
            environment=offline,
            request={"timeout": 10, "deadline": 60, "max_bytes": 10**7},
            threads=32,
            per_host=2,
            pause=0.5,
            retries=2,
        )
    assert {path.name for path in tmp_path.iterdir()} == {"answers.parquet"}
    assert (tmp_path / "answers.parquet").read_text() == "of last year"
