"""From a part to its candidates: every row is accounted for, every number word is where it says."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from countclip import captions, filtering

TEXTS = [
    "two dogs", "Bachblüten", "", None, "   ", "four of NINE cats", "Seventy", "a fourth kitten",
    "x" * 20_000 + " ten", "<b>three-pack</b> 🧦", "no url", "blank url", "two\u00a0cats\ufffd",
]  # fmt: skip


def part(folder: Path, name: str = "part-00000", repeat: int = 1, **columns: list) -> Path:
    urls = [f"http://example.org/{i}.jpg" for i in range(len(TEXTS))]
    urls[10], urls[11] = None, " "
    rows = {"SAMPLE_ID": [float(i) for i in range(len(TEXTS))], "URL": urls, "TEXT": TEXTS}
    rows = {name: values * repeat for name, values in (columns or rows).items()}
    pq.write_table(pa.table(rows), folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


def run(path: Path, several: str = "largest", ratio: float = 1.0, seed: int = 0):
    out, counts = path.with_suffix(".out.parquet"), path.with_suffix(".json")
    filtering.filter_part(path, out, counts, several=several, non_counting_ratio=ratio, seed=seed)
    return pq.read_table(out), json.loads(counts.read_text())


def test_every_row_goes_somewhere(tmp_path: Path) -> None:
    table, counts = run(part(tmp_path))
    assert table.schema.equals(filtering.CANDIDATES)
    assert counts["rows"] == 13
    assert counts["reasons"] == {
        "counting": 5, "non_counting": 3, "no_url": 2, "no_caption": 3,
        "several_numbers": 0, "non_counting_not_sampled": 0,
    }  # fmt: skip
    rows = table.to_pylist()
    assert [row["sample_id"] for row in rows] == ["0", "1", "5", "6", "7", "8", "9", "12"]
    assert [row["number"] for row in rows] == [2, None, 9, None, None, 10, 3, 2]
    for row in rows:
        word = captions.label(row["caption"])
        span = (row["number"], row["number_start"], row["number_end"])
        assert span == (tuple(word) if word else (None, None, None))
        assert row["number_words"] == len(captions.find(row["caption"]))
    assert counts["counting_by_number"]["10"] == 1


def test_only_one_leaves_out_captions_with_several(tmp_path: Path) -> None:
    table, counts = run(part(tmp_path), several="only_one", ratio=0)
    assert counts["reasons"]["several_numbers"] == 1
    assert table["number"].to_pylist() == [2, 10, 3, 2]


def test_sample_is_seeded_and_differs_between_parts(tmp_path: Path) -> None:
    path = part(tmp_path, repeat=50)
    first, second = run(path, ratio=0.2)[0], run(path, ratio=0.2)[0]
    assert first.equals(second)
    assert not first.equals(run(path, ratio=0.2, seed=1)[0])
    assert not first.equals(run(part(tmp_path, "part-00001", repeat=50), ratio=0.2)[0])


def test_batches_do_not_lose_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "BATCH", 7)
    table, counts = run(part(tmp_path, repeat=20), ratio=100)
    assert (counts["rows"], len(table)) == (260, 20 * 8)


def test_other_column_names(tmp_path: Path) -> None:
    table, _ = run(part(tmp_path, uid=["a", "b"], url=["u", "v"], text=["six", "6"]))
    assert table["sample_id"].to_pylist() == ["a", "b"]
    table, _ = run(part(tmp_path, Url=["u", "v"], Caption=["six", "6"]))
    assert table["sample_id"].to_pylist() == ["0", "1"]


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    raw = pa.array([b"six \xff\xfe"], pa.binary())
    broken = pa.StringArray.from_buffers(1, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"URL": ["u"], "TEXT": broken}), tmp_path / "part-00000.parquet")
    table, _ = run(tmp_path / "part-00000.parquet")
    assert table["caption"].to_pylist() == ["six \ufffd\ufffd"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["URL", "label"], "no column for the caption.*URL, label"),
        (["url", "TEXT", "caption"], "could all be the caption"),
    ],
)
def test_unknown_columns_are_named(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        filtering.columns(names, "part.parquet")
