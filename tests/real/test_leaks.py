"""Pairs of the real CountBench among 20,787 real rows of LAION: the known one, and one caption."""

from pathlib import Path

import polars as pl

from countclip.benchmarks import countbench
from countclip.data import counting_set


def test_the_pair_that_was_trained_on_and_tested_on_is_found(shared: Path) -> None:
    rows = pl.read_parquet(shared / "laion/laion400m_rows.parquet")
    rows = rows.select(url="URL", caption="TEXT", phash=pl.lit("0" * 16))
    listed = countbench.load(shared / "countbench/CountBench.json")
    benchmark = pl.DataFrame(
        {"url": [row.url for row in listed], "caption": [row.caption for row in listed]}
    ).with_columns(phash=pl.lit(None, pl.String))
    fates = counting_set.benchmark_pairs(
        rows.fill_null(""), benchmark, {"decontaminate": ["url", "caption"], "phash_distance": 4}
    )
    found = [
        (caption, fate)
        for caption, fate in zip(rows["caption"], fates, strict=True)
        if fate is not None
    ]
    assert found == [
        ("Three Little Pigs", "caption"),
        ("A set of seven red plastic apples on a white background", "url"),
    ]
