"""Further benchmarks are read as their publishers lay them out, and no row goes silently."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.benchmarks import adapters, check_links, custom
from countclip.benchmarks.store import read_benchmark
from countclip.data.published_sets import counted_noun
from countclip.evaluation import counting
from countclip.report import scores, table1
from countclip.runtime.connection import connection
from countclip.runtime.files import sha256
from miniature import own_benchmark, scenes, server

LIMITS = {"max_bytes": 100_000, "image_limits": {"max_pixels": 1_000_000, "min_side": 32}}


def file(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def scene(number: int) -> bytes:
    return file(scenes.draw(scenes.make("own_benchmark", 0, number)))


NOISE = file(Image.effect_noise((300, 300), 60))
BAD = {  # by the status that they must get
    "too_large": NOISE + b"\0" * 100_000,
    "undecodable": scene(2)[:300],
    "not_an_image": b"<html>gone</html>",
    "too_small": file(Image.effect_noise((64, 31), 60)),
    "placeholder": file(Image.new("RGB", (64, 64), "white")),
}


def read(path: Path, source: str, pictures: Path | None = None, **settings) -> list[dict]:
    """The rows of the published table; what holds for every benchmark is checked on the way."""
    made = path.parent / "made"
    outputs = {
        "benchmark_parquet": str(made / "benchmark.parquet"),
        "images_parquet": str(made / "images.parquet"),
        "summary_json": str(made / "summary.json"),
    }
    settings = {"template": "{number} {noun}", "expected": None} | LIMITS | settings
    image_source = str(pictures or path.parent)
    custom.read(str(path), source=source, image_source=image_source, **outputs, **settings)
    benchmark, images, summary_json = outputs.values()
    rows = pq.read_table(benchmark).to_pylist()
    summary = json.loads(Path(summary_json).read_text())
    assert summary["rows"] == len(rows) == summary["included"] + sum(summary["left_out"].values())
    assert summary["included"] == sum(summary["n_per_class"].values())
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert all(row["status"] in custom.STATUSES for row in rows)
    measured = list(read_benchmark(benchmark, images))
    assert {row["index"]: row["number"] for row in measured} == custom.rows_of(benchmark)
    return rows


def statuses(rows: list[dict]) -> list[str]:
    return [row["status"] for row in rows]


def parquet(path: Path, rows: list[dict]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def csv(folder: Path, text: str | bytes) -> Path:
    (folder / "a.png").write_bytes(scene(3))
    path = folder / "mine.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---- a folder of one's own ----


def test_rows_of_a_csv_are_measured_on_or_left_out_for_a_reason(tmp_path):
    for status, body in BAD.items():
        (tmp_path / f"{status}.jpg").write_bytes(body)
    lines = ["image,number,caption,noun,source"]
    lines += ["a.png,3,Three blue stars,,mine", 'a.png, 3 ,,"stars, big",mine']
    lines += ["a.png,1,one star,,", "a.png,11,,stars,", "a.png,-3,,stars,"]
    lines += ["a.png,3,Thirty-three stars and threescore,,", "b.png,3,,stars,"]
    lines += [f"{status}.jpg,3,,stars," for status in BAD]
    rows = read(csv(tmp_path, "\ufeff" + "\r\n".join(lines) + "\r\n"), "folder")
    expected = ["included", "included", "number", "number", "number", "caption", "missing", *BAD]
    assert statuses(rows)[:5] == expected[:5]
    assert statuses(rows)[6:] == expected[6:]
    assert [row["caption"] for row in rows[:2]] == ["Three blue stars", "three stars, big"]
    assert rows[1]["place"] == "line 3"
    assert rows[6]["detail"].endswith("b.png")


def test_a_file_may_have_two_spaces_in_its_name(tmp_path):
    (tmp_path / "a  b.png").write_bytes(scene(3))
    path = csv(tmp_path, "image,number,noun\n a  b.png,3,blue  stars\n")
    rows = read(path, "folder")
    assert statuses(rows) == ["included"]
    assert rows[0]["caption"] == "three blue stars"


def test_a_benchmark_of_links_needs_a_word_of_the_config(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/0b5a").write_bytes(scene(4))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/4.png").symlink_to("../blobs/0b5a")
    path = csv(tmp_path / "data", "image,number,noun\n4.png,4,stars\na.png,3,stars\n")
    message = (
        r"1 wrong\n  line 2: image '4.png' must .* is a link to .*/0b5a: .*`follow_links: true`"
    )
    with pytest.raises(ValueError, match=message):
        read(path, "folder")
    assert statuses(read(path, "folder", follow_links=True)) == ["included"] * 2
    (tmp_path / "blobs/0b5a").unlink()
    rows = read(path, "folder", follow_links=True)
    assert statuses(rows) == ["missing", "included"]
    assert rows[0]["detail"].startswith("a link to '../blobs/0b5a': No such file")


def test_limits_name_their_keys(tmp_path):
    path = csv(tmp_path, "image,number,noun\na.png,3,stars\n")
    for limits, key in (
        (
            {"image_limits": {"max_pixels": 99, "min_side": 32}},
            "countbench.picture.max_pixels is 99",
        ),
        ({"max_bytes": 99}, "countbench.request.max_bytes is 99"),
    ):
        with pytest.raises(
            ValueError, match=f"no row is left .*{key}, raise it to take this image"
        ):
            read(path, "folder", **limits)


def test_a_number_word_inside_another_word_names_no_number(tmp_path):
    text = "image,number,caption\na.png,3,threescore stars\na.png,3,three stars\n"
    assert statuses(read(csv(tmp_path, text), "folder")) == ["caption", "included"]


def test_the_template_says_how_a_noun_becomes_a_caption(tmp_path):
    path = csv(tmp_path, "image,number,noun\na.png,3,{evil} two-seaters\n")
    rows = read(path, "folder", template="a photo of {number} {noun}.")
    assert rows[0]["caption"] == "a photo of three {evil} two-seaters."
    with pytest.raises(ValueError, match="must name no other number before {number}"):
        read(path, "folder", template="one of three photos: {number} {noun}")


def test_every_wrong_line_of_a_csv_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "secret.png").write_bytes(scene(3))
    lines = ["image,number,noun", "../secret.png,3,stars", f"{tmp_path}/secret.png,3,stars"]
    lines += ["link.png,3,stars", "a.png,three,stars", "a.png,3,  ", "a.png,3", "a.png,3,x,y"]
    lines += [",3,stars", "a\0.png,3,stars", "a.png,3.0,stars", "a.png," + "9" * 5000 + ",stars"]
    path = csv(tmp_path / "folder", "\n".join([*lines, "a.png,3,stars\n"]))
    with pytest.raises(ValueError, match="mine.csv: 11 wrong") as failed:
        read(path, "folder")
    complaints = str(failed.value).splitlines()[1:]
    assert [text.split(":")[0].strip() for text in complaints] == [
        f"line {n}" for n in range(2, 13)
    ]
    assert all("must be a file inside" in complaints[n] for n in (0, 1, 2, 7))
    assert not (path.parent / "made/images.parquet").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must name the columns"),
        ("image,number\na.png,3\n", "must name the columns"),
        ("image,number,noun\n", "has no row"),
        ("image,number,noun\na.png,3,st\u00e4mme\n".encode("latin-1"), "save it as CSV UTF-8"),
        ('image,number,noun\na.png,3,"stars\n', "after line 1: unexpected end of data"),
        ("image,number,noun\na.png,3," + "s" * 200_000, "field larger than field limit"),
        ("image;number;noun\na.png;3;stars\n", "separated by commas; it is 'image;number;noun'"),
        ("image,number,noun\na.png,33,stars\n", "no row is left .* 1: its number is not one of"),
        ("image,number,noun\nb.png,3,stars\n", "is not there. line 2: missing .*/b.png"),
    ],
)
def test_a_wrong_csv_is_named(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=f"mine.csv(.|\n)*{complaint}"):
        read(csv(tmp_path, text), "folder")


def test_what_is_left_out_names_its_file_in_the_rows_and_the_log(tmp_path, caplog):
    path = csv(tmp_path, "image,number,noun\na.png,3,stars\nlink.png,4,stars\nno.png,33,stars\n")
    (tmp_path / "link.png").write_text("../cache/4.png")
    with caplog.at_level("INFO"):
        rows = read(path, "folder")
    assert statuses(rows) == ["included", "not_an_image", "number"]
    assert f"'../cache/4.png'): {tmp_path / 'link.png'}" in caplog.text
    assert "1 left out: its file is not an image that is read; first line 3: a link" in caplog.text
    assert "first line 4: 33" in caplog.text


def test_the_file_and_the_folder_are_those_that_are_meant(tmp_path):
    path = csv(tmp_path, "image,number,noun\na.png,3,stars\n")
    assert statuses(read(path, "folder", expected=sha256(path))) == ["included"]
    with pytest.raises(ValueError, match=f"its sha256 is {sha256(path)}"):
        read(path, "folder", expected="0" * 64)
    with pytest.raises(ValueError, match="the benchmark's key `images` must name one"):
        read(path, "folder", tmp_path / "nowhere")


def test_the_miniatures_own_benchmark_is_new_scenes_and_a_csv(tmp_path):
    path = tmp_path / "benchmark.csv"
    own_benchmark.make(str(path), str(tmp_path / "pictures"))
    rows = read(path, "folder")
    assert statuses(rows) == ["included"] * 90
    assert len({row["sha256"] for row in rows}) == 90
    assert sorted(row["number"] for row in rows) == sorted([*range(2, 11)] * 10)
    before = path.read_bytes(), (tmp_path / "pictures/07.jpg").read_bytes()
    own_benchmark.make(str(path), str(tmp_path / "pictures"))
    assert before == (path.read_bytes(), (tmp_path / "pictures/07.jpg").read_bytes())


# ---- published benchmarks ----


def test_countbenchqa(tmp_path):
    """Laid out as on the hub: the pictures are in the file, as a struct of bytes and path."""
    asked = [
        (3, scene(3), "How many stars are there in the image?"),
        (3, scene(3), "How many points does each star have?"),
        (12, scene(3), "How many stars are there in the image?"),
        (3, None, "How many stars are there in the image?"),
    ]
    rows = [
        {
            "image": {"bytes": body, "path": None},
            "text": "a caption with three stars",
            "question": question,
            "number": number,
        }
        for number, body, question in asked
    ]
    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "text": pa.string(),
            "question": pa.string(),
            "number": pa.int32(),
        }
    )
    path = tmp_path / "test-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, {**rows[0], "image": None}], schema), path)
    rows = read(path, "countbenchqa")
    assert statuses(rows) == ["included", "question", "number", "missing", "missing"]
    assert rows[0]["caption"] == "three stars"


def pixmo(path: Path, shown: dict[int, bytes]) -> Path:
    """Laid out as on the hub: addresses and sha256 instead of pictures."""
    rows = [
        {
            "image_url": f"http://a.miniature.example/{count}.jpg",
            "image_sha256": sha256(body),
            "count": count,
            "points": [{"x": 1.0, "y": 2.0}] * count,
            "label": "stars",
        }
        for count, body in shown.items()
    ]
    return parquet(path, rows)


def test_pixmo_count_knows_its_pictures_by_their_sha256(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "whatever it is called").write_bytes(scene(3))
    (folder / f"{sha256(scene(4))}.jpg").write_bytes(scene(5))  # a picture that was exchanged
    shown = {3: scene(3), 4: scene(4), 0: scene(3), 11: scene(3)}
    rows = read(pixmo(tmp_path / "test.parquet", shown), "pixmo_count", folder)
    assert statuses(rows) == ["included", "missing", "number", "number"]
    assert rows[0]["caption"] == "three stars"


def test_pixmo_counts_addresses_are_asked_for_their_pictures(tmp_path):
    """Over HTTP: one shows its picture, one another picture, one is gone; 11 is not asked for."""
    scenes_of = {3: ("own_benchmark", 3), 4: ("countbench", 4), 5: None, 11: ("own_benchmark", 11)}
    answers = []
    for count, of in scenes_of.items():
        about = {"stream": of[0], "index": 0, "number": of[1]} if of else {"status": 404}
        kind = "scene" if of else "status"
        answers.append((f"http://a.miniature.example/{count}.jpg", kind, json.dumps(about)))
    columns = dict(
        zip(("url", "kind", "payload"), map(list, zip(*answers, strict=True)), strict=True)
    )
    pq.write_table(pa.table(columns), tmp_path / "world.parquet")
    shown = {count: server.image("own_benchmark", 0, count, "JPEG") for count in (3, 4, 5, 11)}
    path = pixmo(tmp_path / "test.parquet", shown)
    links, answered = tmp_path / "links.json", tmp_path / "answers.parquet"
    adapters.write_links(str(path), str(links), "{number} {noun}")
    with connection("miniature", tmp_path / "world.parquet") as environment:
        check_links.check_links(
            str(links),
            str(answered),
            state=str(tmp_path / "state"),
            environment=environment,
            request={"timeout": 30, "deadline": 60, "max_bytes": 100_000},
            threads=4,
            per_host=4,
            pause=0,
            retries=0,
        )
    rows = read(path, "pixmo_count", answered)
    assert statuses(rows) == ["included", "missing", "missing", "number"]
    assert [row["text"] for row in json.loads(links.read_text())] == [
        "three stars", "four stars", "five stars",
    ]  # fmt: skip


def tally(folder: Path, **changes) -> dict:
    (folder / "VG_100K_2").mkdir(exist_ok=True)
    (folder / "VG_100K_2/1.jpg").write_bytes(scene(3))
    return {
        "answer": 3,
        "data_source": "imported_genome",
        "image": "VG_100K_2/1.jpg",
        "image_id": 92410408,
        "issimple": True,
        "question": "How many stars are shown?",
        "question_id": 30095774,
    } | changes


def test_tallyqa_counts_its_simple_questions(tmp_path):
    changes = [
        {},
        {"issimple": False, "question": "How many stars are left of the blue one?"},
        {"question": "How many rays has a star?"},
        {"answer": 0},
        {"image": "val2014/COCO_val2014_000000000042.jpg"},
    ]
    path = tmp_path / "test.json"
    path.write_text(json.dumps([tally(tmp_path, **change) for change in changes]))
    rows = read(path, "tallyqa")
    assert statuses(rows) == ["included", "complex", "question", "number", "missing"]
    assert (rows[0]["caption"], rows[0]["place"]) == ("three stars", "question 30095774")


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "../../etc/passwd"},
        {"answer": "3"},
        {"answer": 10**30},
        {"answer": True},
        {"question": 5},
        {"image": None},
    ],
)
def test_a_file_that_is_not_tallyqas_is_named(tmp_path, changes):
    path = tmp_path / "test.json"
    path.write_text(json.dumps([tally(tmp_path, **changes)]))
    with pytest.raises(ValueError, match="test.json: (entry 0|question 30095774)"):
        read(path, "tallyqa")


@pytest.mark.parametrize("image", ["shelf.png", {"bytes": "a text"}])
def test_a_picture_of_countbenchqa_is_the_bytes_of_a_file(tmp_path, image):
    row = {"image": image, "question": "How many stars are there?", "number": 3}
    path = parquet(tmp_path / "test.parquet", [row])
    with pytest.raises(ValueError, match="test.parquet: row 0: its image must be the bytes"):
        read(path, "countbenchqa")


@pytest.mark.parametrize("source", ["countbenchqa", "pixmo_count", "tallyqa"])
def test_another_file_is_not_taken_for_a_publishers(tmp_path, source):
    other = parquet(tmp_path / "other.parquet", [{"image": "x", "text": "y"}])
    bare = tmp_path / "bare.json"
    bare.write_text('{"questions": []}')
    number, deep, broken = (
        tmp_path / name for name in ("five.json", "deep.json", "broken.parquet")
    )
    number.write_text("5")
    deep.write_text("[" * 100_000)
    whole = other.read_bytes()
    broken.write_bytes(whole[:-100] + b"\xff" * 92 + whole[-8:])
    for path in (other, bare, number, deep, broken):
        with pytest.raises(ValueError, match=path.name):
            read(path, source)


@pytest.mark.parametrize(
    ("question", "noun"),
    [
        ("How many dogs?", "dogs"),
        ("how many  dogs are there", "dogs"),
        ("How many people are in the photo?", "people"),
        ("How many red cars are there in the image?", "red cars"),
        ("How many pairs of shoes can be seen in this picture?", "pairs of shoes"),
        ("How many dogs and cats can you see?", "dogs and cats"),
        ("How many St. Bernards are visible?", "St. Bernards"),
        ("How many areas are shown?", "areas"),
        ("How many of the dogs are black?", ""),
        ("How many dogs are black?", ""),
        ("How many headlights does the black bus have?", ""),
        ("How many dogs? And cats?", ""),
        ("How many?", ""),
        ("What is the number of dogs?", ""),
        ("", ""),
        ("How many " + "a " * 50_000 + "are", "a " * 49_999 + "a"),
    ],
)
def test_a_plain_question_says_what_is_counted(question, noun):
    assert counted_noun(question) == noun


def test_the_table_of_a_small_benchmark_with_two_numbers(tmp_path):
    """Three pictures, of three and of four: classes without a picture are no zeros by zeros."""
    numbers, guesses = np.array([3, 4, 3]), np.array([3, 3, 3])
    frame = counting.predictions(np.eye(9)[guesses - 2], np.arange(3), numbers, guesses)
    paths = [str(tmp_path / name) for name in ("baseline.parquet", "mine.parquet")]
    counting.write_predictions({"end": frame}, "baseline", 0, paths[0])
    counting.write_predictions(dict.fromkeys(scores.CHECKPOINTS, frame), "mine", 1, paths[1])
    table1.make_benchmark_table(
        paths,
        csv_path=str(tmp_path / "table.csv"),
        json_path=str(tmp_path / "table.json"),
        markdown_path=str(tmp_path / "table.md"),
        rows=dict(enumerate(numbers.tolist())),
        benchmark="shelves",
        variants=[
            {"id": "mine", "label": "a | b", "schedule": "", "lambda_scheme": "", "loss": ""}
        ],
        reference=None,
        scale="paper",
        seen={"near_training": 1, "near_countbench": 2, "same_picture": 1},
        distance=4,
    )
    rows = pd.read_csv(tmp_path / "table.csv").set_index("variant")
    seen = rows.loc["mine", ["near_training", "near_countbench", "same_picture", "near_distance"]]
    assert seen.tolist() == [1, 2, 1, 4]
    assert rows["accuracy_end"]["mine"] == pytest.approx(200 / 3, rel=1e-15)
    assert rows["n_per_class"]["mine"] == "0 2 1 0 0 0 0 0 0"
    text = (tmp_path / "table.md").read_text()
    assert "n = 3 (shelves)" in text
    assert "n = 3 rows with 2 different images, the same for every row" in text
    assert "Rows per class: two 0, three 2, four 1" in text
    assert "a \\| b" in text
    assert "checkpoint that did best on CountBench" in text
    assert "near duplicate in the training data: 1; with one in CountBench" in text
    assert "intervals are too narrow and p values too small" in text
    assert "Rows that repeat the image of an earlier row: 1." in text
    assert "Paper" not in text
