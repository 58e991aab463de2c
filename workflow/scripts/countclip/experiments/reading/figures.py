"""Figures of the reading experiment: frequent questions and answers, and answers with images."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from countclip.data.images import MAX_BYTES, decode, read_file
from countclip.experiments.reading.data import overlap
from countclip.experiments.reading.metric import majority, normalise, soft_accuracy
from countclip.experiments.reading.predictions import read_predictions
from countclip.experiments.reading.sources import Source
from countclip.report import pages, sheets
from countclip.report.plotting import INK, drawing
from countclip.report.sheets import ONE_DECIMAL, Cell, Sheet

SHOWN = 40
"""Most frequent questions and answers that a figure shows, as published."""
THOUSANDS: sheets.Format = "{:,d}".format
ANSWERS = 5
"""Answers with their probabilities beside an image."""
WRAPPED, LONGEST = 44, 90
"""Letters of a line, and of a text in a figure."""


def count_table(splits: dict[str, pd.DataFrame], scale: str) -> pd.DataFrame:
    """One row a split, kind (question or answer) and text: n and share in percent, most first.

    Questions are normalised as answers are; an answer is a question's majority answer. Of equals
    the first by text.
    """
    rows = []
    for split, questions in splits.items():
        texts = {
            "question": map(normalise, questions["question"]),
            "answer": map(majority, questions["answers"]),
        }
        for kind, values in texts.items():
            counts = Counter(values)
            for text in sorted(counts, key=lambda text: (-counts[text], text)):
                share = 100 * counts[text] / len(questions)
                rows.append((split, kind, text, counts[text], share, scale))
    return pd.DataFrame(rows, columns=["split", "kind", "text", "n", "share", "scale"])


def overlap_table(splits: dict[str, pd.DataFrame], scale: str) -> pd.DataFrame:
    """One row a split: n, images, distinct texts, and what it shares with the training split.

    question, answer: percent of its questions whose text, or majority answer, one of the training
    questions has. shared_images: images in both. Empty for the training split.
    """
    rows = []
    for split, questions in splits.items():
        row: dict[str, Any] = {"split": split, "n": len(questions)}
        row["images"] = questions["image_id"].nunique()
        row["distinct_questions"] = questions["question"].map(normalise).nunique()
        row["distinct_answers"] = questions["answers"].map(majority).nunique()
        if split != "train":
            shared = overlap(splits["train"], questions)
            row["shared_images"] = shared["images"]
            row |= {name: 100 * shared[name] for name in ("question", "answer")}
        rows.append(row)
    table = pd.DataFrame(rows).assign(scale=scale)
    return table.astype({"shared_images": "Int64"})


def overlap_sheet(table: pd.DataFrame) -> Sheet:
    """A line a split."""
    formats = dict.fromkeys(("n", "images", "distinct_questions", "distinct_answers"), THOUSANDS)
    formats |= {"shared_images": THOUSANDS, "question": ONE_DECIMAL, "answer": ONE_DECIMAL}
    return Sheet(
        "What training and validation share",
        ["Split", "Questions", "Images", "Distinct questions", "Distinct answers",
         "Images of training", "Questions of training (%)", "Answers of training (%)"],
        [
            [Cell(split), *(Cell(text[name] or "–") for name in formats)]
            for split, text in zip(table["split"], sheets.texts(table, formats), strict=True)
        ],
        [
            "Questions are compared as answers are: in lower case, without articles and most"
            " punctuation. An answer is the majority answer of a question.",
            "Of training: percent of the questions whose words, or answer, one of the training"
            " questions has.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )  # fmt: skip


def make_counts(
    splits: dict[str, pd.DataFrame],
    scale: str,
    *,
    counts_csv: str,
    overlap_csv: str,
    json_path: str,
    markdown_path: str,
) -> None:
    """Publish `count_table` and `overlap_table` as CSV, and the latter's sheet.

    splits: train and validation.
    """
    sheets.write_csv(count_table(splits, scale), counts_csv)
    table = overlap_table(splits, scale)
    sheets.write_csv(table, overlap_csv)
    sheets.write_sheets([overlap_sheet(table)], json_path, markdown_path)


def draw_counts(counts_csv: str, kind: str, *, svg: str, png: str) -> None:
    """Draw the most frequent questions or answers of each split, a panel a split."""
    table = sheets.read_csv(counts_csv, text=str).fillna({"text": ""})
    table = table[table["kind"] == kind]
    splits = list(dict.fromkeys(table["split"]))
    scale = table["scale"].iloc[0]
    title = f"The {SHOWN} most frequent {kind}s"
    with drawing(svg, png, scale, 5.5 * len(splits), 7.5, title) as figure:
        panels = figure.subplots(1, len(splits), squeeze=False)[0]
        for axes, split in zip(panels, splits, strict=True):
            rows = table[table["split"] == split]
            distinct, rows = len(rows), rows.head(SHOWN)
            axes.barh(range(len(rows)), rows["share"], color=INK[1])
            names = [_short(text) or "(nothing)" for text in rows["text"]]
            axes.set_yticks(range(len(rows)), names, fontsize=6)
            axes.invert_yaxis()
            axes.set_xlabel("share of questions (%)")
            axes.set_title(f"{split}: {distinct:,} distinct")


def make_panels(
    questions: pd.DataFrame,
    pool: Sequence[str],
    predictions: dict[str, str],
    source: Source,
    *,
    n: int,
    seed: int,
    scale: str,
    svg: str,
    png: str,
) -> None:
    """Draw n questions at random, as `draw_panels` does.

    predictions: label of a reader -> its file (`predictions.write_predictions`). source: of the
    questions' images.
    """
    rng = np.random.default_rng(seed)
    rows = sorted(rng.choice(len(questions), min(n, len(questions)), replace=False).tolist())
    names = dict.fromkeys(questions["image_id"].iloc[rows])
    stored = dict(source.images(list(names)))
    frames = {
        label: read_predictions(path, questions, len(pool)) for label, path in predictions.items()
    }
    images = {row: stored[questions["image_id"].iloc[row]] for row in rows}
    draw_panels(rows, questions, pool, frames, images, scale, svg=svg, png=png)


def draw_panels(
    rows: Sequence[int],
    questions: pd.DataFrame,
    pool: Sequence[str],
    predictions: dict[str, pd.DataFrame],
    images: dict[int, Path | bytes],
    scale: str,
    *,
    svg: str,
    png: str,
) -> None:
    """Draw images with their question and each reader's most probable answers.

    rows: of `questions` and of the predictions, by reader's label. images: row -> file or its
    bytes. An answer in bold scores; its bar is full, and other bars are pale.
    """
    height = 0.6 + 2.2 * len(rows)
    with drawing(svg, png, scale, 2.6 + 2.6 * len(predictions), height, "What is read") as figure:
        grid = figure.subplots(len(rows), 1 + len(predictions), squeeze=False)
        for row, axes in zip(rows, grid, strict=True):
            stored = images[row]
            body = stored if isinstance(stored, bytes) else read_file(stored, MAX_BYTES)
            image = decode(body)
            image.thumbnail((400, 400))
            axes[0].imshow(image)
            axes[0].set_axis_off()
            ten = questions["answers"].iloc[row]
            asked = textwrap.fill(_short(questions["question"].iloc[row]), WRAPPED // 2)
            axes[0].set_title(f"{asked}\n({_short(majority(ten))})", fontsize=8)
            for panel, (label, frame) in zip(axes[1:], predictions.items(), strict=True):
                _draw_answers(panel, label, frame.iloc[row], ten, pool)


def _draw_answers(
    axes, label: str, predicted: pd.Series, answers: Sequence[str], pool: Sequence[str]
) -> None:
    places = [place for place in predicted["top"] if place >= 0][:ANSWERS]
    shares = [100 * share for share in predicted["probabilities"]][: len(places)]
    right = [soft_accuracy(pool[place], answers) > 0 for place in places]
    colours = [INK[1] if one else "#bbbbbb" for one in right]
    axes.barh(range(len(places)), shares, color=colours)
    axes.set_yticks(range(len(places)), [_short(pool[place])[:24] for place in places], fontsize=7)
    for tick, one in zip(axes.get_yticklabels(), right, strict=True):
        tick.set_fontweight("bold" if one else "normal")
    axes.set_xlim(0, 100)
    axes.tick_params(axis="x", labelsize=6)
    axes.invert_yaxis()
    axes.set_title(f"{label} (%)", fontsize=8)


def _short(text: str) -> str:
    """A text of a file as one line: no control characters, not longer than LONGEST."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return textwrap.shorten(" ".join(text.split()), LONGEST, placeholder=" ...")
