"""Words as images and crops: which words a model reads, and which part of an image answers."""

import json

import numpy as np
import pandas as pd
import pytest

import tiny_training
from countclip.experiments.reading import crop_table, crops, word_table, words
from countclip.experiments.reading.pool import AnswerKey
from countclip.report import sheets
from countclip.runtime.folders import ImageFolder
from miniature import signs

# ---- words ----


def test_each_reader_names_each_image_among_the_words_of_its_kind(tmp_path):
    config = tiny_training.make_config(tmp_path)
    signs.make_words(3, tmp_path / "words.csv", tmp_path / "words")
    (tmp_path / "embed.json").write_text(json.dumps({"logit_scale": 10.0}))
    readers = {
        "image": ({"asks": "image", "hidden": 0}, None),
        "question": ({"asks": "question", "hidden": 0}, None),
    }

    def read():
        words.read_words(
            str(tmp_path / "words.csv"), ImageFolder(tmp_path), str(tmp_path / "embed.json"),
            readers, tmp_path / "words.parquet",
            model={"name": "tiny-test", "pretrained": None, "config": str(config)},
            question="what word is this?", answer_template="{answer}", accelerator="cpu",
            precision="32-true", threads=1,
        )  # fmt: skip
        return pd.read_parquet(tmp_path / "words.parquet")

    table = read()
    assert len(table) == 2 * 18
    assert (table["candidates"] == 3).all()
    assert table["rank"].between(1, 3).all()
    # The question alone names the same word whatever the image is.
    alone = table[table["reader"] == "question"]
    assert (alone.groupby("word")["rank"].nunique() == 1).all()
    made = pd.read_csv(tmp_path / "words.csv", keep_default_na=False)
    heights = table.set_index("path")["height"].groupby(level=0).first()
    np.testing.assert_allclose(heights[made["path"]], made["height"] * 64 / 128)
    (tmp_path / made["path"][4]).write_text("no image")
    with pytest.raises(ValueError, match=r"1 wrong\n  words/00004.jpg: not_an_image"):
        read()


def words_read():
    """40 images a kind and face: seen words right in 30, others in 10."""
    rows = []
    for kind in word_table.KINDS:
        for faces in ("seen", "unseen"):
            for number in range(40):
                right = number < (30 if (kind, faces) == ("sign", "seen") else 10)
                rows.append(
                    {"reader": "naive", "kind": kind, "faces": faces, "letters": 3 + number % 4,
                     "height": 7.0 + number % 10, "rank": 1 if right else 4, "candidates": 50}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_accuracy_by_kind_face_letters_and_height():
    table = word_table.word_table(words_read(), "miniature")
    rows = table.set_index(["kind", "by", "value"])
    assert rows.loc[("sign", "faces", "seen"), "accuracy"] == 75
    assert rows.loc[("pseudo", "faces", "unseen"), "accuracy"] == 25
    assert rows.loc[("sign", "faces", "seen"), "accuracy_low"] == pytest.approx(59.8, abs=0.1)
    assert table["chance"].tolist() == pytest.approx([2] * len(table))
    for by in ("faces", "letters", "height"):
        assert table.loc[table["by"] == by, "n"].sum() == 240
    assert rows.loc[("sign", "height", "[0.0, 8.0)"), "n"] == 8


def test_word_sheet_and_figure_show_each_kind(tmp_path):
    table = word_table.word_table(words_read(), "miniature")
    sheet = word_table.word_sheet(table, {"naive": "naive"})
    assert [cell.text for cell in sheet.rows[0]] == ["naive", "75.0", *["25.0"] * 5]
    assert "pseudo words 2.00 %" in sheet.notes[0]
    # As read back from its CSV, where all values of the column are texts.
    sheets.write_csv(table, str(tmp_path / "words.csv"))
    again = sheets.read_csv(tmp_path / "words.csv", value=str)
    for place, one in enumerate((table, again)):
        word_table.draw_words(one, "naive", "naive", svg=str(tmp_path / f"{place}.svg"),
                              png=str(tmp_path / f"{place}.png"))  # fmt: skip
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()
    assert [word_table._class(value) for value in ("[0.0, 8.0)", "[12.0, 15.0)", "[15.0, inf)", 4)
            ] == ["< 8", "12 to 15", "≥ 15", "4"]  # fmt: skip


# ---- crops ----


def unit(*shape, seed=0):
    vectors = np.random.default_rng(seed).normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_the_most_similar_answer_of_any_part_wins():
    queries, pool = unit(20, 4, 6), unit(9, 6, seed=1)
    targets = np.random.default_rng(2).integers(-1, 9, 20)
    found = crops.look(queries, pool, targets)
    for row in range(20):
        similar = (queries[row] @ pool.T).astype(np.float32)
        part, place = np.unravel_index(similar.argmax(), similar.shape)
        assert (found.winner[row], found.ranked.predicted[row]) == (part, place)
        if targets[row] >= 0:
            best = similar.max(axis=0)
            assert found.ranked.rank[row] == (best >= best[targets[row]]).sum()
            assert found.by_part[row, 2] == (similar[2] >= similar[2, targets[row]]).sum()
        else:
            assert (found.by_part[row] == -1).all()


def test_the_answers_box_is_that_of_its_word():
    answers = [["Taxi"] * 10, ["yes"] * 10, ["bus stop"] * 10]
    read = [["STOP", "TAXI."], ["STOP"], ["bus-stop", "x"]]
    boxes = [[[0.0] * 4, [0.1, 0.2, 0.3, 0.4]], [[0.0] * 4], [[0.5, 0.5, 0.1, 0.1], [0.0] * 4]]
    assert crop_table.answer_boxes(answers, read, boxes) == [
        [0.1, 0.2, 0.3, 0.4], None, [0.5, 0.5, 0.1, 0.1]
    ]  # fmt: skip


def test_the_table_says_what_a_view_cuts_off_and_whether_the_right_part_helps():
    """Four images of 200 x 100. Two answers stand at the left edge, which the centre cuts off."""
    answers = [[word] * 10 for word in ("left", "edge", "middle", "yes")]
    pool = ["middle", "left", "edge", "yes"]
    key = AnswerKey(answers, pool)
    edge, middle = [0.01, 0.4, 0.1, 0.1], [0.45, 0.45, 0.1, 0.1]
    eye = np.eye(4)
    centre = eye[[0, 0, 0, 0]][:, None]  # always "middle"
    grid = np.repeat(centre, 4, axis=1)
    grid[0, 0] = eye[1] * 1.01  # the part at the upper left says "left", and more surely
    grid[1, 1] = eye[2] * 1.01  # "edge", but in a part that does not show it
    looked = {
        "centre": crops.look(centre, eye, key.target),
        "grid_2": crops.look(grid, eye, key.target),
    }
    table = crop_table.crop_table(
        looked, key, [edge, edge, middle, None], [(200, 100)] * 4, 64, "miniature"
    ).set_index("view")
    row = table.loc["centre"]
    assert (row["n"], row["with_box"], row["in_pool"], row["parts"]) == (4, 3, 3, 1)
    assert row["exact"] == 25
    assert row["answer_shown"] == pytest.approx(100 / 3)
    assert row["height"] == pytest.approx(0.1 * 64)
    row = table.loc["grid_2"]
    assert row["exact"] == 75
    assert row["answer_shown"] == 100
    # The winners: upper left, upper right, and twice the first of equals. The box at the edge is
    # in both left parts' overlap, that in the middle in all four.
    assert row["winner_shows"] == pytest.approx(200 / 3)
    assert row["right_part_first"] == pytest.approx(200 / 3)
    assert row["random_part_first"] == pytest.approx(100 * (1 + 1 + 4) / 12)


def test_without_boxes_the_table_has_scores_alone():
    """As on TextVQA's Parquet, whose OCR has words and no places."""
    eye = np.eye(3)
    key = AnswerKey([["left"] * 10, ["right"] * 10], ["left", "right", "yes"])
    looked = {"grid_2": crops.look(np.repeat(eye[[0, 2]][:, None], 4, axis=1), eye, key.target)}
    table = crop_table.crop_table(looked, key, [None] * 2, [(20, 10)] * 2, 64, "miniature")
    row = table.iloc[0]
    assert (row["exact"], row["with_box"], row["in_pool"]) == (50, 0, 0)
    assert np.isnan(
        row[["answer_shown", "winner_shows", "height", "right_part_first"]].tolist()
    ).all()
    (line,) = crop_table.crop_sheet(table, "naive").rows
    assert [cell.text for cell in line] == ["2 x 2 parts", "50.00", "50.00", *["–"] * 6]
