"""Mentions of objects over whole caption sets: every form of set, the tail, and a killed job."""

import gzip
import io
import json
import random
import re
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from countclip.data.filtering import CANDIDATES
from countclip.data.objects import UNITS
from countclip.experiments.soft_labels.caption_sets import (
    LONGEST,
    CaptionSet,
    files_of,
    read_captions,
)  # fmt: skip
from countclip.experiments.soft_labels.object_counts import (
    PARTS,
    Store,
    count_objects,
    write_objects,
)  # fmt: skip
from countclip.runtime.resources import HOME


def captions_of(*paths: Path, **options) -> tuple[list[str], Counter]:
    captions = CaptionSet(tuple(map(str, paths)), **options)
    texts, dropped = [], Counter()
    for file in files_of(captions):
        for batch in read_captions(file, captions):
            texts += batch.texts
            dropped += batch.dropped
    return texts, dropped


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))


def test_candidates_are_read_whole_or_by_whether_they_count(tmp_path):
    rows = [{"caption": "two owls", "number": 2}, {"caption": "an owl", "number": None}]
    pq.write_table(pa.Table.from_pylist(rows, schema=CANDIDATES), tmp_path / "part.parquet")
    assert captions_of(tmp_path) == (["two owls", "an owl"], {})
    assert captions_of(tmp_path, rows="counting")[0] == ["two owls"]
    assert captions_of(tmp_path, rows="non_counting")[0] == ["an owl"]


def test_of_img2dataset_the_table_is_read_and_only_what_arrived(tmp_path):
    table = {"caption": ["a", "b", None, " "], "status": ["success", "failed_to_download"] * 2}
    pq.write_table(pa.table(table), tmp_path / "00000.parquet")
    write_tar(tmp_path / "00000.tar", {"0.txt": b"a"})
    assert captions_of(tmp_path) == (["a"], {"image_not_fetched": 2, "blank": 1})


def test_a_webdataset_gives_a_caption_for_each_image(tmp_path):
    write_tar(
        tmp_path / "0.tar",
        {
            "v1.0/a.jpg": b"", "v1.0/a.txt": "é".encode(), "v1.0/a.json": b'{"caption": "other"}',
            "v1.0/b.json": b'{"caption": "of b"}', "v1.0/b.jpg": b"",
            "c.jpg": b"", "d.json": b"[1]", "e.json": b"{", "f.txt": b"x" * (1 << 20) + b"y",
            "g.txt": b"\xff", "h.txt": b"\n",
        },
    )  # fmt: skip
    texts, dropped = captions_of(tmp_path)
    assert texts == ["é", "of b", "�"]
    assert dropped == {"no_caption": 1, "damaged_json": 2, "too_large": 1, "blank": 1}


@pytest.mark.parametrize(
    ("name", "text", "column", "expected", "dropped"),
    [
        ("a.csv", 'id,Caption\n1,"one, and\ntwo"\n2,\n3,NA\n', None,
         ["one, and\ntwo", "NA"], {"blank": 1}),
        ("cc3m.tsv", 'a "quoted owl\thttp://x\nan owl\thttp://y\n', 0,
         ['a "quoted owl', "an owl"], {}),
        ("cc12m.tsv", "http://x\tan owl\nhttp://y\tan elk\tmore\n", 1,
         ["an owl"], {"malformed_line": 1}),
        ("b.csv", "words,n\nan owl,1\n", "words", ["an owl"], {}),
        ("c.csv.gz", "TEXT,n\nan owl,1\n", None, ["an owl"], {}),
        ("d.csv", "text\n" + "owl " * 5000 + "\n", None, [("owl " * 5000)[:LONGEST]], {}),
    ],
)  # fmt: skip
def test_tables_with_and_without_a_header(tmp_path, name, text, column, expected, dropped):
    body = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(body) if name.endswith("gz") else body)
    assert captions_of(tmp_path / name, column=column) == (expected, dropped)


@pytest.mark.parametrize(
    ("name", "body", "options", "message"),
    [
        ("a.txt", b"an owl", {}, "holds no captions that are known"),
        ("a.csv", b"url,words\nx,y\n", {}, "no column of captions. It has url, words"),
        ("a.csv", b"url,words\nx,y\n", {"column": "text"}, "no column 'text'; it has 'url', "),
        ("a.tsv", b"x\ty\n", {"column": 2}, "no column 2; it has 2, counted from 0"),
        ("a.parquet", b"no parquet at all", {}, "cannot be read"),
        ("a.tar", b"no tar at all" * 100, {}, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_set_is_said(tmp_path, name, body, options, message):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(ValueError, match=message) as error:
        captions_of(tmp_path / name, **options)
    assert name in str(error.value)


def test_a_set_of_other_rows_has_no_numbers(tmp_path):
    pq.write_table(pa.table({"text": ["an owl"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no column number"):
        captions_of(tmp_path, rows="counting")


def stored(folder: Path, mentions: Counter, batches: int, seed: int = 0) -> Store:
    """The mentions, dealt at random to some batches."""
    rng, dealt = random.Random(seed), [Counter() for _ in range(batches)]
    for name in mentions.elements():
        dealt[rng.randrange(batches)][name] += 1
    store = Store(folder)
    for i, batch in enumerate(dealt):
        store.add(f"{i:06}", {"phrases": batch}, {"captions": batch.total()})
    return store


def test_the_tail_is_the_rarest_three_tenths_by_mentions_and_then_by_name(tmp_path):
    mentions = Counter({f"thing {i}": 1 + i // 60 for i in range(197)}) + Counter(
        {"étui": 1, "Zug": 1, "aal": 1, "zz": 9}
    )
    store = stored(tmp_path / "store", mentions, batches=5)
    found = write_objects(store, "phrases", tmp_path / "objects.parquet")
    rows = pq.read_table(tmp_path / "objects.parquet").to_pylist()
    assert {row["object"]: row["mentions"] for row in rows} == mentions
    ordered = sorted(mentions, key=lambda name: (mentions[name], name))
    tail = ordered[: 201 * 3 // 10]  # 60 of 63 with one mention: the border is among equals
    assert {row["object"] for row in rows if row["tail"]} == set(tail)
    assert found == {
        "objects": 201, "mentions": mentions.total(), "seen_once": 63, "tail_objects": 60,
        "tail_mentions": sum(mentions[name] for name in tail),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("objects", "tail"), [(0, 0), (3, 0), (4, 1), (109_341, 32_802), (276_123, 82_836)]
)
def test_the_published_tails_are_floors(tmp_path, objects, tail):
    """Of AlignCLIP's Table 1; all objects once, so that names alone decide."""
    store = Store(tmp_path / "store")
    names = [f"{i:07}" for i in range(objects)]
    store.add("0", {"nouns": Counter(names)}, {})
    found = write_objects(store, "nouns", tmp_path / "objects.parquet")
    assert (found["objects"], found["tail_objects"]) == (objects, tail)
    table = pq.read_table(tmp_path / "objects.parquet")
    assert sorted(table.filter(table["tail"])["object"].to_pylist()) == names[:tail]


def test_objects_are_spread_over_all_parts(tmp_path):
    store = stored(tmp_path, Counter({f"{i}": 1 for i in range(2000)}), batches=1)
    sizes = [len(table) for table in store.merged("phrases")]
    assert len(sizes) == PARTS
    assert sum(sizes) == 2000
    assert max(sizes) < 120


COUNT = """
import logging, sys
from countclip.data.objects import UNITS
from countclip.experiments.soft_labels.caption_sets import CaptionSet
from countclip.experiments.soft_labels.object_counts import count_objects
if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    source, folder = sys.argv[1:]
    count_objects(
        CaptionSet((source,)), objects={unit: f"{folder}/{unit}.parquet" for unit in UNITS},
        counts_json=f"{folder}/counts.json", state=f"{folder}/state",
    )
"""
FILES = 12


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Files of captions, each of which is one batch."""
    folder = tmp_path_factory.mktemp("captions")
    rng = random.Random(1)
    things = ["owl", "kettle", "rug", "pier", "violin", "barn", "monk", "spade"]
    for i in range(FILES):
        captions = [f"{rng.choice(things)}s on a {rng.choice(things)}" for _ in range(800)]
        pq.write_table(
            pa.table({"caption": [*captions, "no idea", ""]}), folder / f"{i:02}.parquet"
        )
    return folder


def start(source: Path, folder: Path) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    (folder / "count.py").write_text(COUNT, encoding="utf-8")
    paths = [str(HOME / "workflow" / "scripts"), *filter(None, sys.path)]
    with (folder / "log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            [sys.executable, str(folder / "count.py"), str(source), str(folder)],
            env={"PYTHONPATH": ":".join(paths), "PATH": "/usr/bin:/bin"}, stderr=log,
        )  # fmt: skip


def children(pid: int) -> list[Path]:
    return [
        Path(f"/proc/{child}")
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def test_a_killed_count_goes_on_to_the_same_bytes(source, tmp_path):
    killed = start(source, tmp_path / "killed")
    for _ in range(6000):
        done = list(tmp_path.glob("killed/state/*/*-all.json"))
        if len(done) >= 3 or killed.poll() is not None:
            break
        time.sleep(0.01)
    parsing = children(killed.pid)
    killed.kill()
    killed.wait()
    assert 3 <= len(done) < FILES, "killed too late, or through by itself"
    folders = [tmp_path / "killed", tmp_path / "whole"]
    assert [start(source, folder).wait() for folder in folders] == [0, 0]
    logs = [(folder / "log").read_text(encoding="utf-8") for folder in folders]
    assert re.search(rf"\b[3-9]\d* of {FILES} files are done already", logs[0])
    assert "done already" not in logs[1]
    counts = json.loads((tmp_path / "whole" / "counts.json").read_text(encoding="utf-8"))
    assert counts["captions"] == FILES * 801
    assert counts["dropped"] == {"blank": FILES}
    assert counts["units"]["concrete"]["objects"] == 8
    assert counts["units"]["concrete"]["captions_without"] == FILES
    for name in ("counts.json", *(f"{unit}.parquet" for unit in UNITS)):
        one, other = ((folder / name).read_bytes() for folder in folders)
        assert one == other
    assert parsing
    assert not [process for process in parsing if process.exists()], "a process outlived the count"
    assert not list(tmp_path.glob("*/state/*")), "the state is removed at the end"


def test_a_damaged_file_ends_the_count_with_its_name(tmp_path):
    (tmp_path / "0.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"0\.parquet: cannot be read"):
        count_objects(
            CaptionSet((str(tmp_path),)), objects={"concrete": str(tmp_path / "out" / "o.parquet")},
            counts_json=tmp_path / "out" / "c.json", state=tmp_path / "state",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
