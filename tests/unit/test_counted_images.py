"""Counting sets from images that somebody counted: each source, and what becomes of each row."""

import json
import shutil
from pathlib import Path

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.data import counted_images, counting_set
from countclip.data.counted_images import read_counted_images
from countclip.data.shards import read_images
from countclip.runtime.files import sha256
from countclip.runtime.resources import HOME

SETTINGS = {
    "images": "photos", "captions": None, "nouns_csv": None, "caption": "{number} {noun}",
    "several": "largest", "expected": None, "follow_links": False, "max_bytes": 10_000_000,
    "max_pixels": 1_000_000, "threads": 2, "candidates": "out/candidates.parquet",
    "counts": "out/candidates.json", "manifest": "out/images/mine.parquet",
}  # fmt: skip
COCO_NOUNS = str(HOME / "resources/coco_nouns.csv")


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A folder of a run with twelve different images in photos/, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/deep").mkdir(parents=True)
    for seed in range(12):
        blocks = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
        image = Image.fromarray(blocks).resize((90, 60), Image.Resampling.BICUBIC)
        image.save(tmp_path / f"photos/{'deep/' * (seed == 11)}{seed}.png")
    (tmp_path / "photos/text.jpg").write_text("no image")
    return tmp_path


def read(source: str, path: str, **settings) -> tuple[list[dict], list[dict], dict]:
    """The candidates, the manifest and the counts."""
    read_counted_images(source=source, path=path, **SETTINGS | settings)
    files = [SETTINGS[key] for key in ("candidates", "manifest")]
    counts = json.loads(Path(SETTINGS["counts"]).read_text())
    tables = [pq.read_table(file).to_pylist() for file in files]
    assert counts["rows"] == sum(counts["reasons"].values())
    assert [row["url"] for row in tables[0]] == [row["url"] for row in tables[1]]
    return *tables, counts


def write_json(path: str, value) -> str:
    Path(path).write_text(json.dumps(value), encoding="utf-8")
    return path


# image, caption, noun, number; then the caption and the number that follow, or why it is no pair
LINES = [
    ("0.png", "Three dogs, one of them  black", "", "3", ("Three dogs, one of them black", 3)),
    ("1.png", "two of the seven dwarfs", "", "2", ("two of the seven dwarfs", 2)),
    ("2.png", "two of the seven dwarfs", "", "", ("two of the seven dwarfs", 7)),
    ("3.png", "", "red cups", "5", ("five red cups", 5)),
    ("4.png", "cups on a shelf", "cups", "4", ("four cups", 4)),
    ("5.png", "cups on a shelf", "", "4", "caption"),
    ("6.png", "a lonely dog", "", "1", ("a lonely dog", None)),
    ("7.png", "a street at night", "", "", ("a street at night", None)),
    ("8.png", "a dog with two balls", "", "1", "another_number"),
    ("9.png", "", "dogs", "12", "number"),
    ("10.png", "", "dogs", "", ("dogs", None)),
    ("deep/11.png", "often a kitten; TEN of them", "", "", ("often a kitten; TEN of them", 10)),
    ("gone.png", "six eggs", "", "6", ("six eggs", 6)),
    ("text.jpg", "six eggs", "", "6", ("six eggs", 6)),
]


def write_lines(run: Path, lines: list[tuple], header: str = "image,caption,noun,number") -> str:
    rows = [",".join(f'"{field}"' for field in line[:4]) for line in lines]
    (run / "pairs.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return "pairs.csv"


def test_each_line_of_a_csv_becomes_the_pair_that_it_should(run):
    candidates, manifest, counts = read("folder", write_lines(run, LINES))
    expected = [line[-1] for line in LINES if isinstance(line[-1], tuple)]
    assert [(row["caption"], row["number"]) for row in candidates] == expected
    for row in candidates:
        word = row["caption"][row["number_start"] : row["number_end"]] if row["number"] else ""
        assert (row["number"] is None) == (word == "")
        assert [word["number"] for word in row["words"]] or row["number"] is None
    assert counts["reasons"] == {
        "counting": 8, "non_counting": 3, "caption": 1, "another_number": 1, "number": 1
    }  # fmt: skip
    assert counts["counting_by_number"]["6"] == 2
    statuses = [row["status"] for row in manifest]
    assert statuses == ["ok"] * 9 + ["missing", "not_an_image"]
    found = dict(read_images(SETTINGS["manifest"]))
    assert list(found) == [row["key"] for row in manifest if row["status"] == "ok"]
    for row in manifest[:9]:
        file = run / "photos" / row["url"]
        assert found[row["key"]] == file.read_bytes()
        assert (row["sha256"], row["width"], row["height"]) == (sha256(file), 90, 60)
    index = pq.read_table("out/images/mine/index.parquet")["file"].to_pylist()
    assert index[0] == "photos/0.png"  # so that a run may be moved
    assert not any(Path("out").rglob("*.png"))  # nothing is copied


def test_several_numbers_of_a_caption_need_a_column(run):
    path = write_lines(run, LINES[1:4])
    candidates, _, counts = read("folder", path, several="only_one")
    assert [row["number"] for row in candidates] == [2, 5]
    assert counts["reasons"]["several_numbers"] == 1


def test_a_csv_needs_no_number(run):
    (run / "pairs.csv").write_text("image,caption\n0.png,nine lives\n1.png,a cat\n")
    candidates, _, _ = read("folder", "pairs.csv")
    assert [row["number"] for row in candidates] == [9, None]


def test_an_image_that_changes_is_noticed(run):
    read("folder", write_lines(run, LINES))
    (run / "photos/1.png").write_bytes((run / "photos/0.png").read_bytes())
    with pytest.raises(
        ValueError, match=r"photos/1.png: has changed since out/images/mine.parquet"
    ):
        dict(read_images(SETTINGS["manifest"]))
    (run / "photos/1.png").unlink()
    with pytest.raises(ValueError, match=r"photos/1.png: No such file.*delete out/images/mine"):
        dict(read_images(SETTINGS["manifest"]))


def test_images_above_a_limit_are_named(run):
    small = Image.new("RGB", (9, 9), "red")
    small.save(run / "photos/small.png")
    lines = [*LINES[:2], ("small.png", "two", "", "2")]
    _, manifest, _ = read("folder", write_lines(run, lines), max_pixels=1000)
    assert [row["status"] for row in manifest] == ["too_many_pixels", "too_many_pixels", "ok"]
    size = (run / "photos/small.png").stat().st_size
    _, manifest, _ = read("folder", write_lines(run, lines), max_bytes=size)
    assert [row["status"] for row in manifest] == ["too_large", "too_large", "ok"]


def test_wrong_lines_and_files_elsewhere_are_refused(run):
    (run / "secret.png").write_bytes((run / "photos/0.png").read_bytes())
    (run / "photos/link.png").symlink_to("../secret.png")
    lines = [
        *(("../secret.png", "two", "", "2"), (str(run / "secret.png"), "two", "", "2")),
        *(("link.png", "two", "", "2"), ("0.png", "", "", "2"), ("0.png", "two", "", "two")),
        *(("", "two", "", "2"), ("0.png", "two", "", "-2")),
    ]
    with pytest.raises(ValueError, match=r"pairs.csv: 7 wrong") as raised:
        read("folder", write_lines(run, lines))
    for line in range(2, 9):
        assert f"line {line}: " in str(raised.value)
    candidates, manifest, _ = read("folder", write_lines(run, [lines[2]]), follow_links=True)
    assert manifest[0]["status"] == "ok"
    with pytest.raises(ValueError, match="columns image and caption or noun"):
        read("folder", write_lines(run, LINES, "image,text,things,number"))
    with pytest.raises(ValueError, match=r"nowhere: no such folder; .*`images`"):
        read("folder", write_lines(run, LINES), images="nowhere")
    with pytest.raises(ValueError, match=r"its sha256 is .* not 0000"):
        read("folder", write_lines(run, LINES), expected="0" * 64)
    with pytest.raises(
        ValueError, match=r"no image of 14 rows can be used .*'missing': 11.*below out: name"
    ):
        read("folder", write_lines(run, LINES), images="out")


# ---- published sets ----


def test_pixmo_count_finds_images_by_their_sha256(run):
    (run / "photos/2.png").rename(run / "photos/deep/renamed.bin")
    files = ["0.png", "1.png", "deep/renamed.bin", "3.png"]
    columns = {
        "image_url": [f"https://x.example/{n}" for n in range(5)],
        "image_sha256": [sha256(run / "photos" / name) for name in files] + ["f" * 64],
        "count": pa.array([3, 0, 10, 11, 2], pa.int64()),
        "label": ["people", "cars", "birds", "cups", "dogs"],
    }
    pq.write_table(pa.table(columns), "train.parquet")
    candidates, manifest, counts = read("pixmo_count", "train.parquet")
    assert [row["caption"] for row in candidates] == ["three people", "ten birds", "two dogs"]
    assert [row["noun"] for row in candidates] == ["people", "birds", "dogs"]
    assert [row["status"] for row in manifest] == ["ok", "ok", "missing"]
    assert manifest[0]["url"] == "https://x.example/0"
    assert counts["reasons"] == {"counting": 3, "number": 2}


def test_tallyqa_gives_its_plain_questions(run):
    (run / "photos/train2014").mkdir()
    shutil.copy(run / "photos/0.png", run / "photos/train2014/0.png")
    ask = {"image": "train2014/0.png", "question_id": 7}
    questions = [
        ask | {"question": "How many zebras are there?", "answer": 4, "data_source": "amt"},
        ask | {"question": "How many wheels does the car have?", "answer": 4},
        ask | {"question": "How many men are there?", "answer": 1},
        ask | {"question": "How many cats are there?", "answer": 2, "issimple": False},
        ask | {"question": "How many cats are there?", "answer": 2, "issimple": True},
    ]
    candidates, _, counts = read("tallyqa", write_json("train.json", questions))
    assert [row["caption"] for row in candidates] == ["four zebras", "two cats"]
    assert counts["reasons"] == {"counting": 2, "question": 1, "complex": 1, "number": 1}
    for wrong in ({"image": "../secret.png"}, {"answer": "two"}, {"question": None}):
        with pytest.raises(ValueError, match="train.json: entry 0|train.json: is it"):
            read("tallyqa", write_json("train.json", [questions[0] | wrong]))
    with pytest.raises(ValueError, match="must be a list of questions"):
        read("tallyqa", write_json("train.json", {"questions": questions}))


INSTANCES = {
    "categories": [
        {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id": 47, "name": "cup"}
    ],
    "images": [{"id": 100 + n, "file_name": f"{n}.png"} for n in range(6)],
    "annotations": [
        {"id": n, "image_id": 100 + image, "category_id": category, "iscrowd": crowd}
        for n, (image, category, crowd) in enumerate(
            [(0, 1, 0)] * 2 + [(0, 18, 0)] * 5 + [(1, 18, 0)] + [(2, 1, 0)] * 3 + [(2, 1, 1)]
            + [(2, 47, 0)] * 2 + [(3, 47, 0)] * 12 + [(5, 18, 0), (5, 1, 0)]
        )
    ],
}  # fmt: skip
CAPTIONS = [
    (0, "Two men walk five dogs", 2),
    (0, "five puppies and some men", 5),
    (0, "four dogs and two  women", 2),  # the first number counts what is annotated otherwise
    (0, "three dogs", "another_number"),
    (0, "the two of them", "not_named"),
    (0, "dogs, and three bottles", "not_named"),
    (1, "one dog", None),
    (2, "three people", "crowd"),
    (2, "two mugs on a table", 2),
    (4, "two dogs", "another_number"),
    (4, "nothing to count", None),
]


def test_coco_captions_count_what_is_annotated(run):
    path = write_json("instances.json", INSTANCES)
    lines = [{"id": n, "image_id": 100 + image, "caption": text}
             for n, (image, text, _) in enumerate(CAPTIONS)]  # fmt: skip
    captions = write_json("captions.json", {"annotations": lines})
    candidates, manifest, counts = read("coco", path, captions=captions, nouns_csv=COCO_NOUNS)
    expected = [(100 + image, n) for image, _, n in CAPTIONS if not isinstance(n, str)]
    names = {image["file_name"]: image["id"] for image in INSTANCES["images"]}
    assert [(names[row["url"]], row["number"]) for row in candidates] == expected
    nouns = ["person", "dog", "person", None, "cup", None]
    assert [row["noun"] for row in candidates] == nouns
    reasons = {text: sum(n == text for *_, n in CAPTIONS) for *_, text in CAPTIONS
               if isinstance(text, str)}  # fmt: skip
    assert counts["reasons"] == reasons | {"counting": 4, "non_counting": 2}
    assert {row["status"] for row in manifest} == {"ok"}


def test_coco_without_captions_counts_the_most_frequent_class(run):
    path = write_json("instances.json", INSTANCES)
    candidates, _, counts = read("coco", path, nouns_csv=COCO_NOUNS)
    assert [(row["url"], row["caption"], row["number"]) for row in candidates] == [
        ("0.png", "five dogs", 5),
        ("1.png", "dog", None),
        ("2.png", "two cups", 2),  # people are a crowd
        ("5.png", "person, dog", None),
    ]
    assert [row["noun"] for row in candidates] == ["dog", None, "cup", None]
    assert counts["reasons"] == {"counting": 2, "non_counting": 2, "number": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": [{"id": 1, "file_name": "../secret.png"}], "annotations": []},
            "must be a file",
        ),
        ({"images": [{"id": 1, "file_name": "/etc/passwd"}], "annotations": []}, "must be a file"),
        ({"images": [{"id": 1, "file_name": 3}]}, "3 is no text"),
        ({"images": []}, "annotation 0 is of no image or category"),
        ({"categories": None}, "must be COCO's instances, a JSON object with the lists images, a"),
        ({"annotations": [{"image_id": 100}]}, "is it COCO.s instances. KeyError..category_id"),
    ],
)
def test_a_wrong_coco_file_is_named(run, change, message):
    path = write_json("instances.json", INSTANCES | change)
    with pytest.raises(ValueError, match=rf"instances.json: .*{message}"):
        read("coco", path, nouns_csv=COCO_NOUNS)


def test_captions_of_other_images_and_classes_without_nouns_are_named(run):
    path = write_json("instances.json", INSTANCES)
    captions = write_json("captions.json", {"annotations": [{"image_id": 9, "caption": "a"}]})
    with pytest.raises(ValueError, match="captions.json: image 9 is not among those of instances"):
        read("coco", path, captions=captions, nouns_csv=COCO_NOUNS)
    with pytest.raises(ValueError, match="captions.json: must be COCO's captions"):
        read("coco", path, captions=write_json("captions.json", []), nouns_csv=COCO_NOUNS)
    (run / "nouns.csv").write_text("class,nouns\ndog,dogs\n")
    captions = write_json("captions.json", {"annotations": []})
    with pytest.raises(ValueError, match="nouns.csv: no line for cup, person"):
        read("coco", path, captions=captions, nouns_csv="nouns.csv")


# ---- the set ----


def assemble(run: Path, benchmark: Path | None, **settings) -> tuple[pa.Table, pa.Table, dict]:
    part = {"candidates": SETTINGS["candidates"], "counts": SETTINGS["counts"],
            "images": SETTINGS["manifest"]}  # fmt: skip
    names = ("counting.parquet", "non_counting.parquet", "class_frequency.csv", "summary.json")
    output = {name.partition(".")[0]: str(run / "set" / name) for name in names}
    settings = {
        "class_rule": "none", "confidence": 0.25, "max_per_number": None, "phash_distance": 4,
        "non_counting_per_counting": None, "heldout_fraction": 0.1, "decontaminate": [], "seed": 0,
    } | settings  # fmt: skip
    counting_set.assemble(parts={"mine": part}, benchmark=benchmark, output=output, **settings)
    tables = [pq.read_table(output[key]) for key in ("counting", "non_counting")]
    return *tables, json.loads(Path(output["summary"]).read_text())


def test_a_counting_set_of_ones_own_images(run):
    """Kept apart from a benchmark without links, which shows one of them smaller."""
    read("folder", write_lines(run, LINES))
    counting, others, summary = assemble(run, None)
    captions = [line[-1][0] for line in LINES[:5]] + ["often a kitten; TEN of them"]
    assert counting["caption"].to_pylist() == captions
    assert counting["class_name"].to_pylist() == [None, None, None, "red cups", "cups", None]
    assert counting.schema.equals(counting_set.COUNTING)
    assert others["caption"].to_pylist() == ["a lonely dog", "a street at night", "dogs"]
    lost = {step["step"]: step["lost"] for step in summary["counting"]}
    assert lost["download"] == {"missing": 1, "not_an_image": 1}
    assert summary["rows"] == len(LINES)
    smaller = Image.open(run / "photos/3.png").resize((60, 40))
    columns = {"index": [0], "caption": ["four cups"], "phash": [str(imagehash.phash(smaller))]}
    pq.write_table(pa.table(columns), run / "benchmark.parquet")
    criteria = ["url", "caption", "phash"]
    counting, _, summary = assemble(run, run / "benchmark.parquet", decontaminate=criteria)
    lost = {step["step"]: step["lost"] for step in summary["counting"]}
    assert lost["benchmark"] == {"caption": 1, "phash": 1}
    with pytest.raises(
        ValueError, match=r"counting_set.decontaminate is \['url'\], and there is no"
    ):
        assemble(run, None, decontaminate=["url"])


def test_the_same_files_give_the_same_bytes(run):
    written = []
    for threads in (1, 4):
        read("folder", write_lines(run, LINES), threads=threads)
        written.append({f: f.read_bytes() for f in Path("out").rglob("*") if f.is_file()})
    assert written[0] == written[1]
    assert len(written[0]) == 4


def test_every_reason_to_drop_a_row_is_explained():
    text = Path(counted_images.__file__).read_text(encoding="utf-8")
    for reason in counted_images.DROPPED:
        assert text.count(f'"{reason}"') >= 2
