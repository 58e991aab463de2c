"""From a part to its candidates: every row is accounted for, every number word is where it says."""

import json
import re
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from countclip.data import filtering, number_words
from kill import killed_often

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


SETTINGS = {
    "several": "largest", "non_counting_ratio": 1.0, "seed": 0,
    "nsfw_drop": ["nsfw", "UNSURE"], "similarity_min": None, "min_side": None,
}  # fmt: skip


def run(path: Path, threads: int = 1, **settings):
    out, counts = path.with_suffix(".out.parquet"), path.with_suffix(".json")
    filtering.filter_part(
        part=path,
        candidates=out,
        counts=counts,
        state=path.parent / "state",
        threads=threads,
        **SETTINGS | settings,
    )
    assert not list((path.parent / "state").iterdir())
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
        word = number_words.label(row["caption"])
        span = (row["number"], row["number_start"], row["number_end"])
        assert span == (tuple(word) if word else (None, None, None))
        named = number_words.find(row["caption"]) if word else []
        assert row["words"] == [found._asdict() for found in named]
    assert [len(row["words"]) for row in rows] == [1, 0, 2, 0, 0, 1, 1, 1]
    assert counts["counting_by_number"]["10"] == 1


def test_only_one_leaves_out_captions_with_several(tmp_path: Path) -> None:
    table, counts = run(part(tmp_path), several="only_one", non_counting_ratio=0)
    assert counts["reasons"]["several_numbers"] == 1
    assert table["number"].to_pylist() == [2, 10, 3, 2]


def test_sample_is_seeded_and_differs_between_parts(tmp_path: Path) -> None:
    path = part(tmp_path, repeat=50)
    few = {"non_counting_ratio": 0.2}
    first, second = run(path, **few)[0], run(path, **few)[0]
    assert first.equals(second)
    assert not first.equals(run(path, **few, seed=1)[0])
    assert not first.equals(run(part(tmp_path, "part-00001", repeat=50), **few)[0])


def test_batches_do_not_lose_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "BATCH", 7)
    table, counts = run(part(tmp_path, repeat=20), non_counting_ratio=100)
    assert (counts["rows"], len(table)) == (260, 20 * 8)


def test_row_groups_and_threads_change_nothing(tmp_path: Path) -> None:
    table = pq.read_table(part(tmp_path, repeat=50))
    written = []
    for threads, size in ((1, 1000), (1, 97), (3, 97)):
        pq.write_table(table, tmp_path / "part-00000.parquet", row_group_size=size)
        found, counts = run(tmp_path / "part-00000.parquet", threads, non_counting_ratio=100)
        written.append((found, counts, (tmp_path / "part-00000.out.parquet").read_bytes()))
    assert written[0][0].equals(written[1][0])
    assert written[0][1] == written[1][1]
    assert written[1][2] == written[2][2]


LIMITS = {
    "URL": [f"http://example.org/{i}.jpg" for i in range(6)],
    "TEXT": ["two dogs"] * 6,
    "NSFW": ["UNLIKELY", "UNSURE", "NSFW", None, "unsure", "?"],
    "similarity": [0.31, 0.4, 0.4, 0.29, 0.4, None],
    "WIDTH": [300.0, 300.0, 300.0, 300.0, 300.0, 300.0],
    "HEIGHT": [199.0, 300.0, 300.0, 300.0, 300.0, 300.0],
}


@pytest.mark.parametrize(
    ("settings", "kept", "reasons"),
    [
        ({}, [0, 3, 5], {"nsfw": 3}),
        ({"nsfw_drop": []}, [0, 1, 2, 3, 4, 5], {}),
        ({"nsfw_drop": [], "similarity_min": 0.31}, [0, 1, 2, 4], {"low_similarity": 2}),
        ({"min_side": 200}, [3, 5], {"nsfw": 3, "too_small": 1}),
        ({"similarity_min": 0.5, "min_side": 200}, [], {"nsfw": 3, "low_similarity": 3}),
    ],
)
@pytest.mark.parametrize("encoded", [True, False])
def test_limits(
    tmp_path: Path, settings: dict, kept: list[int], reasons: dict[str, int], encoded: bool
) -> None:
    path = tmp_path / "part-00000.parquet"
    pq.write_table(pa.table(LIMITS), path, use_dictionary=encoded)
    table, counts = run(path, **settings)
    assert table["sample_id"].to_pylist() == [str(row) for row in kept]
    lost = {name: n for name, n in counts["reasons"].items() if n and name != "counting"}
    assert lost == reasons
    assert sum(counts["reasons"].values()) == 6


def test_limits_where_there_is_no_column(tmp_path: Path) -> None:
    path = part(tmp_path)
    assert run(path)[1] == run(path, nsfw_drop=[])[1]
    with pytest.raises(ValueError, match=r"no column for the similarity.*similarity_min to null"):
        run(path, similarity_min=0.3)
    with pytest.raises(ValueError, match=r"no column for the width.*min_side to null"):
        run(path, min_side=64)
    null = part(tmp_path, "part-00001", URL=["u"], TEXT=["six"], NSFW=[None])
    assert run(null)[1]["reasons"]["counting"] == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"punsafe": [0.99]}, "punsafe is read by no key: drop such rows before, or write the"),
        ({"Safety_Score": [1], "is_unsafe": [True]}, "Safety_Score, is_unsafe is read by no key"),
        ({"width": [64]}, r"Set captions.nsfw_drop to \[\] if that is right, or add the column"),
    ],
)
def test_a_filter_without_a_column_is_a_warning(tmp_path, caplog, columns, message) -> None:
    path = part(tmp_path, URL=["u"], TEXT=["six"], **columns)
    run(path)
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert re.search(
        rf"part-00000.*no row is dropped by captions.nsfw_drop.*{message}", record.message
    )
    caplog.clear()
    run(path, nsfw_drop=[])
    run(part(tmp_path, URL=["u"], TEXT=["six"], nsfw=["UNLIKELY"], **columns))
    assert not caplog.records or all(r.levelname != "WARNING" for r in caplog.records)


def filter_slowly(path: Path, folder: Path, log: Path) -> None:
    """Each row group takes a while, and says when it begins and when it is done."""

    def slowly(*args, done=filtering._filter_group) -> None:
        with open(log, "a") as out:
            out.write(f"begin {args[2]}\n")
        time.sleep(0.05)
        done(*args)
        with open(log, "a") as out:
            out.write(f"done {args[2]}\n")

    filtering._filter_group = slowly
    print("ready", flush=True)
    filtering.filter_part(
        part=path, candidates=folder / "out.parquet", counts=folder / "out.json",
        state=folder / "state", threads=2, **SETTINGS,
    )  # fmt: skip


def test_killed_often_it_gives_the_same_and_does_nothing_twice(tmp_path: Path) -> None:
    table = pq.read_table(part(tmp_path, repeat=400))
    path, groups, kills = tmp_path / "part-00000.parquet", 52, 10
    pq.write_table(table, path, row_group_size=100)
    log, folder = tmp_path / "log", tmp_path / "killed"
    killed_often(filter_slowly, path, folder, log, times=kills, seed=1, longest=0.25)
    run(path)
    for name in ("out.parquet", "out.json"):
        undisturbed = path.with_suffix(f".{name}" if name == "out.parquet" else ".json")
        assert (folder / name).read_bytes() == undisturbed.read_bytes()
    lines = log.read_text().splitlines()
    assert max(Counter(line for line in lines if line.startswith("done")).values()) == 1
    assert len([line for line in lines if line.startswith("begin")]) <= groups + 2 * kills


def test_other_column_names(tmp_path: Path) -> None:
    table, _ = run(part(tmp_path, uid=["a", "b"], url=["u", "v"], text=["six", "6"]))
    assert table["sample_id"].to_pylist() == ["a", "b"]
    table, _ = run(part(tmp_path, Url=["u", "v"], Caption=["six", "6"]))
    assert table["sample_id"].to_pylist() == ["0", "1"]
    datacomp = {
        "uid": ["a", "b", "c"], "url": ["u", "v", "w"], "text": ["six"] * 3,
        "original_width": [200, 99, 200], "original_height": [200, 200, 200],
        "clip_b32_similarity_score": [0.3, 0.3, 0.1], "clip_l14_similarity_score": [0.3, 0.3, 0.3],
    }  # fmt: skip
    table, _ = run(part(tmp_path, **datacomp), similarity_min=0.2, min_side=100)
    assert table["sample_id"].to_pylist() == ["a"]


def test_ids_in_a_float_column(tmp_path: Path) -> None:
    """LAION-400M has them so; what is no whole number there must not end the job."""
    ids = [2.0**52, float("nan"), 1e19, None]
    table, _ = run(part(tmp_path, SAMPLE_ID=ids, URL=["u"] * 4, TEXT=["six"] * 4))
    assert table["sample_id"].to_pylist() == ["4503599627370496", "nan", "1e+19", None]


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    path = part(tmp_path, URL=["u"], TEXT=["six"], nsfw=[0.5])
    with pytest.raises(ValueError, match=r"row group 0: .*nsfw \(double\).*nsfw_drop: \[\]"):
        run(path)


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
        filtering.find_columns(names, "part.parquet", ["url", "caption", "sample_id"])
