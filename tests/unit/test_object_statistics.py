"""The table of objects: what is counted, what is published, and what was dropped."""

import json

import pandas as pd
import pytest

from countclip.experiments.soft_labels.statistics import make_statistics
from countclip.report.sheets import read_csv, read_sheets
from countclip.runtime.resources import HOME

PUBLISHED = str(HOME / "resources/soft_labels_published.csv")
COUNTS = {
    "captions": 40,
    "dropped": {"blank": 3, "malformed_line": 1},
    "units": {
        "concrete": {
            "objects": 13, "mentions": 50, "seen_once": 6, "tail_objects": 3, "tail_mentions": 3,
            "captions_without": 10,
        },
    },
}  # fmt: skip
NONE = {
    "captions": 0,
    "dropped": {},
    "units": {"nouns": dict.fromkeys(COUNTS["units"]["concrete"], 0)},
}


@pytest.fixture
def table(tmp_path):
    counts = {"Mine": COUNTS, "Empty": NONE}
    for name, one in counts.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(one), encoding="utf-8")
    paths = {kind: str(tmp_path / f"table.{kind}") for kind in ("csv", "json", "md")}
    make_statistics(
        [(name, str(tmp_path / f"{name}.json")) for name in counts], published_csv=PUBLISHED,
        csv_path=paths["csv"], json_path=paths["json"], markdown_path=paths["md"],
        scale="miniature",
    )  # fmt: skip
    return read_csv(paths["csv"]), read_sheets(paths["json"])[0]


def test_counts_and_ratios_of_a_set(table):
    row = table[0].iloc[0]
    assert (row["set"], row["unit"], row["captions"], row["objects"]) == (
        "Mine",
        "concrete",
        40,
        13,
    )
    assert row["objects_a_caption"] == 50 / 40
    assert row["without_objects_percent"] == 25
    assert row["seen_once_percent"] == 100 * 6 / 13
    assert row["tail_mentions_percent"] == 6
    shown = [cell.text for cell in table[1].rows[0]]
    assert shown == ["Mine", "things", "40", "13", "3", "1.25", "25.0", "46.2", "6.0"]
    assert "Mine: captions dropped: blank: 3; malformed_line: 1." in table[1].notes


def test_a_set_without_captions_has_no_ratios(table):
    row = table[0].iloc[1]
    assert row["captions"] == 0
    assert pd.isna(row["objects_a_caption"])
    assert [cell.text for cell in table[1].rows[1]][5:] == ["–"] * 4


def test_published_sets_are_marked_and_their_tails_are_floors(table):
    published = table[0][table[0]["source"].notna()]
    assert published["set"].tolist() == ["CC3M", "CC12M", "YFCC15M"]
    assert published["tail_objects"].tolist() == [int(n) * 3 // 10 for n in published["objects"]]
    assert published["scale"].isna().all()
    assert [row[0].range for row in table[1].rows] == ["", "", *["(published)"] * 3]
    assert table[1].stamp.short.startswith("Miniature")
