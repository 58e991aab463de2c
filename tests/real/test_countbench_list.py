"""The real list of CountBench reads as it is, and an offline machine does not bury it."""

from collections import Counter

import pytest

from countclip import countbench


def test_every_row_reads(shared) -> None:
    rows = countbench.load(shared / "countbench/CountBench.json")
    assert [row.index for row in rows] == list(range(540))
    assert Counter(row.number for row in rows) == dict.fromkeys(range(2, 11), 60)


def test_offline_the_audit_stops_early_and_publishes_nothing(shared, tmp_path) -> None:
    with pytest.raises(countbench.OutageError, match="offline"):
        countbench.audit(
            str(shared / "countbench/CountBench.json"),
            str(tmp_path / "audit.csv"),
            str(tmp_path / "images.parquet"),
            state=str(tmp_path / "state"),
            environment={"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
            threads=16,
            request={"timeout": 2, "deadline": 5, "retries": 1, "max_bytes": 10**7},
            picture={},
        )
    assert {path.name for path in tmp_path.iterdir()} == {"state"}
