"""Figures of the reading experiment: what they count and show, from small tables."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from countclip.experiments.reading import figures
from countclip.report import sheets


def split(questions, answers):
    return pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(len(questions))],
            "question": questions,
            "answers": [[answer] * 10 for answer in answers],
        }
    )


SPLITS = {
    "train": split(["What is it?", "what is it", "Who?", "b?", "a?"],
                   ["Taxi", "taxi.", "10", "the", "bus"]),
    "validation": split(["WHAT IS IT", "new"], ["cab", "ten"]),
}  # fmt: skip


def made(splits, folder):
    paths = {name: str(folder / f"{name.removesuffix('_csv')}.csv")
             for name in ("counts_csv", "overlap_csv")}  # fmt: skip
    figures.make_counts(splits, "miniature", **paths, json_path=str(folder / "overlap.json"),
                        markdown_path=str(folder / "overlap.md"))  # fmt: skip
    return sheets.read_csv(paths["counts_csv"], text=str).fillna({"text": ""})


def test_questions_and_answers_are_counted_by_normalised_text(tmp_path):
    table = made(SPLITS, tmp_path)
    train = table[table["split"] == "train"]
    asked = train[train["kind"] == "question"]
    assert list(zip(asked["text"], asked["n"], strict=True)) == [
        ("what is it", 2), ("", 1), ("b", 1), ("who", 1)  # "a?" is an article, so empty
    ]  # fmt: skip
    told = train[train["kind"] == "answer"]
    assert told["text"].tolist() == ["taxi", "", "10", "bus"]
    assert told["share"].tolist() == pytest.approx([40, 20, 20, 20])


def test_what_the_splits_share_is_a_table(tmp_path):
    made(SPLITS, tmp_path)
    table = sheets.read_csv(tmp_path / "overlap.csv").set_index("split")
    row = table.loc["validation"]
    assert (row["n"], row["images"], row["shared_images"]) == (2, 2, 2)
    assert (row["question"], row["answer"]) == (50, 50)
    assert table[["distinct_questions", "distinct_answers"]].values.tolist() == [[4, 4], [2, 2]]
    (sheet,) = sheets.read_sheets(str(tmp_path / "overlap.json"))
    assert [cell.text for cell in sheet.rows[0]] == ["train", "5", "5", "4", "4", "–", "–", "–"]
    assert [cell.text for cell in sheet.rows[1]][5:] == ["2", "50.0", "50.0"]


def test_figures_have_the_same_bytes_again(tmp_path):
    hostile = SPLITS | {
        "train": split(["$x^2$ <script>\x00\u202e" + "y" * 300] * 2, ["a\nb", "the"])
    }
    made(hostile, tmp_path)
    for kind in ("question", "answer"):
        bodies = []
        for number in range(2):
            svg = tmp_path / f"{kind}{number}.svg"
            figures.draw_counts(
                str(tmp_path / "counts.csv"), kind, svg=str(svg), png=str(tmp_path / "x.png")
            )
            bodies.append(svg.read_bytes())
        assert bodies[0] == bodies[1]
        assert b"<script>" not in bodies[0]


def test_panels_show_each_readers_answers(tmp_path):
    body = io.BytesIO()
    Image.new("RGB", (60, 40), (200, 60, 60)).save(body, "png")
    pool = ["taxi", "cab", "10"]
    frame = pd.DataFrame(
        {
            "predicted": [1, 2],
            "top": [np.array([1, 0, 2]), np.array([2, 0, 1])],
            "probabilities": [np.array([0.6, 0.3, 0.1]), np.array([0.9, 0.05, 0.05])],
        }
    )
    alone = pd.DataFrame({"predicted": [-1, 0], "top": [[-1], [0]], "probabilities": [[1.0]] * 2})
    figures.draw_panels(
        [1, 0], SPLITS["validation"], pool, {"naive": frame, "OCR": alone},
        dict.fromkeys((0, 1), body.getvalue()), "miniature",
        svg=str(tmp_path / "p.svg"), png=str(tmp_path / "p.png"),
    )  # fmt: skip
    with Image.open(tmp_path / "p.png") as image:
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for shown in ((200, 60, 60), (0, 0x72, 0xB2), (0xBB, 0xBB, 0xBB)):  # right and wrong bars
        assert (np.abs(colours - np.array(shown)).max(axis=1) < 12).sum() > 50
