"""Questions of TextVQA's form: the two forms give the same tables; what is wrong is said."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.experiments.reading import data, images, views
from countclip.runtime.folders import ImageFolder


def entry(number, image_id=None, **other):
    """An entry of TextVQA v0.5.1, with all of its keys."""
    return {
        "question": f"what is word {number}?",
        "image_id": image_id or f"{number // 2:016x}",
        "image_classes": ["Sign"],
        "flickr_original_url": "http://127.0.0.1:9/original.jpg",
        "flickr_300k_url": "http://127.0.0.1:9/300k.jpg",
        "image_width": 1024,
        "image_height": 768,
        "answers": ["nokia"] * 9 + ["nokia 5"],
        "question_tokens": ["what", "is", "word", str(number)],
        "question_id": 34602 + number,
        "set_name": "val",
    } | other


def write_json(path, entries, **top):
    body = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1"}
    path.write_text(json.dumps(body | {"data": entries} | top))
    return path


def write_rosetta(path, readings):
    """readings: image_id -> words with their boxes."""
    entries = [
        {
            "image_id": image_id,
            "ocr_tokens": [word for word, _ in words],
            "ocr_info": [
                {
                    "word": word,
                    "bounding_box": dict(
                        zip(("top_left_x", "top_left_y", "width", "height"), box, strict=True),
                        rotation=0.0, roll=0.0, pitch=0.0, yaw=0.0,
                    ),
                }
                for word, box in words
            ],
        }
        for image_id, words in readings.items()
    ]  # fmt: skip
    return write_json(path, entries, dataset_name="textvqa_ocr")


def image(number):
    body = io.BytesIO()
    Image.new("RGB", (8, 6), (number % 256, 40, 90)).save(body, "png")
    return body.getvalue()


def write_parquet(path, entries, image_type=None, **options):
    """The columns of lmms-lab/textvqa: images inside, once a question."""
    columns = {name: [row[name] for row in entries] for name in entries[0]}
    columns["question_id"] = pa.array(columns["question_id"], pa.int32())
    columns["image"] = [
        {"bytes": image(int(row["image_id"], 16)), "path": f"../../{row['image_id']}.jpg"}
        for row in entries
    ]
    pq.write_table(pa.table(columns), path, **options)
    return path


def tables(folder, questions, sources=(), ocr=None, counts=None):
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{name}.parquet" for name in ("questions", "images")}
    summary = data.make_split(
        questions, sources, split="validation", counts=counts, ocr=ocr,
        questions_parquet=paths["questions"], images_parquet=paths["images"],
        summary_json=folder / "summary.json",
    )  # fmt: skip
    assert json.loads((folder / "summary.json").read_text()) == summary
    return data.read_questions(paths["questions"]), pd.read_parquet(paths["images"]), summary


# ---- both forms ----


def test_json_and_parquet_of_a_hundred_questions_give_the_same_tables(tmp_path):
    entries = [entry(number) for number in range(100)]
    source = write_json(tmp_path / "TextVQA_0.5.1_val.json", entries)
    parts = [
        write_parquet(tmp_path / f"{n}.parquet", entries[33 * n : 33 * n + 33 + n // 2])
        for n in range(3)
    ]
    from_json = data.read_json(source)
    from_parquet = data.read_parquet(parts)
    questions, table, summary = tables(tmp_path / "a", from_json, [source], counts=(100, 50))
    others, other_images, _ = tables(tmp_path / "b", from_parquet, parts, counts=(100, 50))
    pd.testing.assert_frame_equal(questions, others)
    pd.testing.assert_frame_equal(table, other_images)
    assert questions.iloc[77].to_dict() == {
        "question_id": 34679, "image": 38, "image_id": "0000000000000026",
        "question": "what is word 77?", "answers": ["nokia"] * 9 + ["nokia 5"],
    }  # fmt: skip
    assert (summary["questions"], summary["images"]) == (100, 50)
    assert table["words"].isna().all()
    stored = dict(data.parquet_images(parts))
    assert list(stored) == list(table["image_id"])  # an image of two questions once
    assert stored["000000000000001f"] == image(31)


def test_images_are_files_of_the_folder_in_the_order_of_their_first_question(tmp_path):
    questions = data.read_json(
        write_json(tmp_path / "q.json", [entry(4), entry(1), entry(5), entry(2)])
    )
    for name in ("0" * 15 + "2.jpg", "0" * 16 + ".png", "0" * 15 + "1.jpg"):
        (tmp_path / name).write_bytes(image(1))
    found = data.image_files(questions, ImageFolder(tmp_path))
    assert list(found) == ["0" * 15 + "2", "0" * 16, "0" * 15 + "1"]
    assert found["0" * 16].name.endswith(".png")


# ---- OCR ----


def test_rosetta_gives_each_image_its_words_and_boxes(tmp_path, caplog):
    questions = data.read_json(
        write_json(tmp_path / "q.json", [entry(number) for number in range(6)])
    )
    ocr = write_rosetta(
        tmp_path / "ocr.json",
        {"0" * 16: [("STOP", (0.1, 0.2, 0.3, 0.05)), ("bus", (0.5, 0.5, 0.2, 0.1))],
         f"{2:016x}": [], "f" * 16: [("elsewhere", (0, 0, 1, 1))]},
    )  # fmt: skip
    _, table, summary = tables(tmp_path, questions, ocr=ocr)
    assert [list(words) for words in table["words"]] == [["STOP", "bus"], [], []]
    np.testing.assert_allclose(np.stack(table["boxes"][0]), [[0.1, 0.2, 0.3, 0.05],
                                                              [0.5, 0.5, 0.2, 0.1]])  # fmt: skip
    assert summary["images_without_ocr"] == 1
    assert "1 of 3 images have no OCR" in caplog.text


def test_tokens_of_the_parquet_are_ocr_without_boxes(tmp_path):
    entries = [entry(0, ocr_tokens=["A", "B"]), entry(2, ocr_tokens=["C"])]
    questions = data.read_parquet([write_parquet(tmp_path / "q.parquet", entries)])
    _, table, _ = tables(tmp_path, questions)
    assert [list(words) for words in table["words"]] == [["A", "B"], ["C"]]
    assert table["boxes"].isna().all()


def test_ocr_of_another_split_is_an_error(tmp_path):
    questions = data.read_json(write_json(tmp_path / "q.json", [entry(0)]))
    ocr = write_rosetta(tmp_path / "ocr.json", {"e" * 16: []})
    with pytest.raises(ValueError, match=r"ocr\.json: has none of the images .* another split\?"):
        tables(tmp_path, questions, ocr=ocr)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_id": "../x"}, r"entry 0: image_id '\.\./x' must be"),
        ({"ocr_tokens": "STOP"}, "entry 0: ocr_tokens must be a list"),
        ({"ocr_info": [{"bounding_box": {"width": 1}}]}, "must have the numbers top_left_x"),
        ({"ocr_info": [{"bounding_box": None}]}, "must have the numbers top_left_x"),
        ({"ocr_tokens": ["x" * 2001]}, "of 2,001 characters, of at most 2,000"),
    ],
)
def test_wrong_ocr_is_said(tmp_path, wrong, message):
    right = {
        "image_id": "0" * 16,
        "ocr_tokens": ["a"],
        "ocr_info": [{"word": "a", "bounding_box": {
            "top_left_x": 0, "top_left_y": 0, "width": 1, "height": 1}}],
    }  # fmt: skip
    path = write_json(tmp_path / "ocr.json", [right | wrong])
    with pytest.raises(ValueError, match=message):
        data.read_ocr(path)


# ---- what is wrong is said, with its entries ----


def test_another_number_of_questions_is_an_error(tmp_path):
    source = write_json(tmp_path / "val.json", [entry(number) for number in range(9)])
    questions = data.read_json(source)
    with pytest.raises(ValueError, match=r"val\.json: 9 questions on 5 images; .* 5,000 on 3,166"):
        tables(tmp_path, questions, [source], counts=data.COUNTS["validation"])


def test_missing_images_are_listed_with_their_entries(tmp_path):
    questions = data.read_json(
        write_json(tmp_path / "val.json", [entry(number) for number in range(6)])
    )
    (tmp_path / f"{1:016x}.jpg").write_bytes(image(1))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        data.image_files(questions, ImageFolder(tmp_path))
    assert "2 of 3 images are missing: 0000000000000000.jpg, 0000000000000002.jpg" in str(
        error.value
    )
    assert "of entry 0 (question 34602), entry 1 (question 34603), entry 4" in str(error.value)


def test_every_wrong_entry_is_listed(tmp_path):
    entries = [
        entry(0, answers=["a"] * 9),
        entry(1),
        entry(2, answers=None),
        entry(3, image_id="../../etc/passwd"),
        entry(4, question_id="7"),
        entry(5, question=["what"]),
        entry(6, answers=["a"] * 9 + [7]),
        "no object",
        entry(8, question=" "),
        entry(9, question_id=True),
        entry(10, answers="aaaaaaaaaa"),
        entry(11, answers=["\ud800"] + ["a"] * 9),
        entry(12, question="x" * 3000),
    ]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        data.read_json(write_json(tmp_path / "val.json", entries))
    text = str(error.value)
    assert "val.json: 12 wrong" in text
    for message in (
        "entry 0 (question 34602): has 9 answers; TextVQA has 10",
        "entry 2 (question 34604): has no answers: those of the test split are not public",
        "entry 3 (question 34605): image_id '../../etc/passwd' must be letters",
        "entry 4: question_id '7' must be a whole number",
        "entry 5 (question 34607): question of the type list must be a text",
        "entry 6 (question 34608): answer 7 must be a text",
        "entry 7: must be an object",
        "entry 8 (question 34610): the question is empty",
        "entry 9: question_id True must be a whole number",
        "entry 10 (question 34612): has answers that are no list",
        "entry 11 (question 34613): answer '\\ud800' has half of a character",
        "entry 12 (question 34614): question of 3,000 characters, of at most 2,000",
    ):
        assert message in text


def test_a_question_id_twice_is_an_error_also_over_files(tmp_path):
    entries = [entry(0), entry(1), entry(2, question_id=34602)]
    expected = r"entry 2 \(question 34602\): has the question_id of entry 0"
    with pytest.raises(ValueError, match=expected):
        data.read_json(write_json(tmp_path / "val.json", entries))
    parts = [write_parquet(tmp_path / "a.parquet", entries[:2]),
             write_parquet(tmp_path / "b.parquet", entries[2:])]  # fmt: skip
    with pytest.raises(ValueError, match=expected):
        data.read_parquet(parts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "must be an object with a list `data` of questions"),
        ('{"data": {}}', "must be an object with a list `data`"),
        ('{"data": []}', "must be an object with a list `data`"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"data": [' + "9" * 5000 + "]}", r"odd\.json: .*digits"),
    ],
)
def test_another_file_is_told(tmp_path, text, message):
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        data.read_json(tmp_path / "odd.json")
    assert str(error.value).startswith(str(tmp_path / "odd.json"))


def test_a_file_of_a_gigabyte_is_not_read(tmp_path):
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(data.MAX_FILE + 1)
    with pytest.raises(ValueError, match=r"large\.json: 1,000,000,001 bytes, of at most"):
        data.read_json(tmp_path / "large.json")


def test_a_parquet_without_a_column_or_of_another_kind_is_told(tmp_path):
    pq.write_table(pa.table({"image_id": ["a"], "question": ["b"]}), tmp_path / "q.parquet")
    with pytest.raises(ValueError, match=r"q\.parquet: has no column question_id, answers"):
        data.read_parquet([tmp_path / "q.parquet"])
    (tmp_path / "page.parquet").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page\.parquet: must be Parquet with the columns"):
        data.read_parquet([tmp_path / "page.parquet"])


def test_a_parquet_that_unpacks_to_too_much_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MAX_FILE", 1_000_000)
    rows = [entry(number, question="x" * 20_000 + str(number)) for number in range(60)]
    path = write_parquet(tmp_path / "bomb.parquet", rows, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"bomb\.parquet: 1,2\d\d,\d+ bytes of texts, of at most"):
        data.read_parquet([path])


def test_an_image_that_a_parquet_lacks_is_empty(tmp_path):
    path = tmp_path / "q.parquet"
    pq.write_table(
        pa.table(
            {"image_id": ["a", "b", "a"], "image": [{"bytes": b"1", "path": None}, None, None]}
        ),
        path,
    )
    assert list(data.parquet_images([path])) == [("a", b"1"), ("b", b"")]


# ---- overlap ----


def test_overlap_counts_questions_and_majority_answers():
    train = pd.DataFrame(
        {"image_id": ["a", "b"], "question": ["What time is it?", "who is it"],
         "answers": [["10 am"] * 10, ["Bob"] * 10]}
    )  # fmt: skip
    validation = pd.DataFrame(
        {"image_id": ["b", "c", "d", "e"],
         "question": ["what time is it", "WHO is it?", "who", "where"],
         "answers": [["10 am."] * 10, ["x"] * 10, ["y"] * 10, ["the bob"] * 6 + ["z"] * 4]}
    )  # fmt: skip
    assert data.overlap(train, validation) == {"images": 1, "question": 0.5, "answer": 0.5}


# ---- images ----


def test_the_centre_cuts_a_wide_image_and_padding_keeps_it(tmp_path):
    wide = Image.new("RGB", (160, 80), (200, 0, 0))
    wide.paste((0, 200, 0), (0, 0, 40, 80))
    wide.paste((0, 0, 200), (120, 0, 160, 80))
    body = io.BytesIO()
    wide.save(body, "png")
    packed = {}
    for view in ("centre", "pad", "grid_2"):
        images.pack([("wide", body.getvalue())], 1, size=32, view=view,
                    images_npy=tmp_path / f"{view}.npy",
                    sizes_parquet=tmp_path / f"{view}.parquet")  # fmt: skip
        packed[view] = np.load(tmp_path / f"{view}.npy")
    assert pd.read_parquet(tmp_path / "pad.parquet").values.tolist() == [[0, 160, 80]]
    assert (packed["centre"][0, :, 2:-2] == (200, 0, 0)).all()
    assert packed["pad"].shape == (1, 32, 32, 3)
    row = packed["pad"][0, 16]
    assert row[[3, 16, 28]].tolist() == [[0, 200, 0], [200, 0, 0], [0, 0, 200]]
    assert packed["pad"][0, [2, 29], 16].tolist() == [[128] * 3] * 2
    assert packed["grid_2"].shape == (4, 32, 32, 3)
    left, right = packed["grid_2"][0, 16], packed["grid_2"][1, 16]
    assert left[[3, 25]].tolist() == [[0, 200, 0], [200, 0, 0]]  # x of 0 to 107: green to 40
    assert right[[3, 25]].tolist() == [[200, 0, 0], [0, 0, 200]]


@pytest.mark.parametrize(
    ("view", "box", "inside", "pixels"),
    [
        ("centre", (0.0, 0.4, 0.125, 0.1), 0, None),  # of 0.25 to 0.75
        ("centre", (0.1875, 0.4, 0.125, 0.1), 0.5, 0.1 * 64),
        ("centre", (0.5, 0.0, 0.1, 0.25), 1, 0.25 * 64),
        ("pad", (0.0, 0.4, 0.125, 0.1), 1, 0.1 * 32),
        ("grid_3", (0.0, 0.2, 0.125, 0.1), 1, 0.1 * 64),  # parts of half the width
    ],
)
def test_a_view_shows_a_box_as_far_as_it_is_inside(view, box, inside, pixels):
    share, height = views.shown(box, 200, 100, view, 64)
    assert share == pytest.approx(inside)
    assert pixels is None or height == pytest.approx(pixels)


def test_images_that_cannot_be_read_are_all_listed(tmp_path):
    (tmp_path / "b.jpg").write_text("<html>404</html>")
    broken = [("a", b""), ("b", tmp_path / "b.jpg"), ("c", image(1)), ("d", tmp_path / "none.jpg")]
    with pytest.raises(ValueError, match="3 wrong") as error:
        images.pack(broken, 4, size=8, view="pad", images_npy=tmp_path / "x.npy",
                    sizes_parquet=tmp_path / "x.parquet")  # fmt: skip
    assert "a: not_an_image (an empty file" in str(error.value)
    assert "b: not_an_image (a web page" in str(error.value)
    assert "d: unreadable" in str(error.value)
    assert not (tmp_path / "x.npy").exists()


def test_an_unknown_view_is_an_error():
    with pytest.raises(ValueError, match="view 'grid_9': must be one of centre, pad"):
        views.grid_of("grid_9")
