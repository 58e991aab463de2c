"""What views of an image cut off, and whether the part that shows the answer gives it.

The right part is that which shows most of the answer, where OCR's boxes say where it stands.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from countclip.experiments.reading.controls import runs
from countclip.experiments.reading.crops import Looked, read_looked
from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.metric import majority
from countclip.experiments.reading.pool import AnswerKey, read_pool
from countclip.experiments.reading.views import regions, shown
from countclip.report import pages, sheets
from countclip.report.sheets import ONE_DECIMAL, TWO_DECIMALS, Cell, Sheet

WHOLE = 0.97
"""Share of a box inside a view from which it counts as shown."""
LABELS = {
    "centre": "centre, CLIP's",
    "pad": "whole, padded",
    "grid_2": "2 x 2 parts",
    "grid_3": "3 x 3 parts",
}
FORMATS = {
    **dict.fromkeys(("soft", "exact"), TWO_DECIMALS),
    **dict.fromkeys(
        ("answer_shown", "winner_shows", "winner_chance", "right_part_first",
         "random_part_first", "height"),
        ONE_DECIMAL,
    ),
}  # fmt: skip
"""Of each number that the sheet shows."""


def answer_boxes(
    answers: list[list[str]], words: list[list[str]], boxes: list[list[list[float]]]
) -> list[list[float] | None]:
    """x, y, width and height of the word that is the majority answer; None where OCR has none."""
    found: list[list[float] | None] = []
    for ten, read, places in zip(answers, words, boxes, strict=True):
        target = majority(ten)
        right = [box for word, box in zip(read, places, strict=True) if target in runs([word])]
        found.append(list(right[0]) if right else None)
    return found


def crop_table(
    looked: dict[str, Looked],
    key: AnswerKey,
    boxes: Sequence[list[float] | None],
    sizes: Sequence[tuple[int, int]],
    model_size: int,
    scale: str,
) -> pd.DataFrame:
    """One row a view: what it answers, what it cuts off, and whether the right part helps.

    boxes, sizes: of each question's answer and image (width, height). soft, exact: in percent, of
    all questions. The others are of questions whose answer has a box: `answer_shown`, in at least
    one part as far as WHOLE; `winner_shows`, in the part whose answer won, and `winner_chance` in
    one at random; `height`, the median of the box in the model's pixels; `in_pool`, those whose
    answer is also in the pool, of which `right_part_first` and `random_part_first` have it ranked
    first in the part that shows most of it, and in a random one.
    """
    rows = []
    placed = [row for row, box in enumerate(boxes) if box is not None]
    for view, found in looked.items():
        scores = key.of(found.ranked.predicted)
        shares, heights = [], []
        for row in placed:
            of_parts = _shares(boxes[row], *sizes[row], view)
            shares.append(of_parts)
            heights.append(shown(tuple(boxes[row]), *sizes[row], view, model_size)[1])
        of_parts = np.array(shares).reshape(len(placed), found.by_part.shape[1])
        each = np.arange(len(placed))
        winner_shows = of_parts[each, found.winner[placed]] >= WHOLE
        in_pool = found.by_part[placed][:, 0] >= 0
        first = found.by_part[placed] == 1
        right_part = first[each, of_parts.argmax(axis=1)]
        rows.append(
            {
                "view": view,
                "parts": found.by_part.shape[1],
                "n": len(boxes),
                "soft": 100 * scores.soft.mean(),
                "exact": 100 * scores.exact.mean(),
                "with_box": len(placed),
                "answer_shown": 100 * _mean((of_parts >= WHOLE).any(axis=1)),
                "winner_shows": 100 * _mean(winner_shows),
                "winner_chance": 100 * _mean(of_parts >= WHOLE),
                "height": float(np.median(heights)) if heights else np.nan,
                "in_pool": int(in_pool.sum()),
                "right_part_first": 100 * _mean(right_part[in_pool]),
                "random_part_first": 100 * _mean(first[in_pool]),
                "scale": scale,
            }
        )
    return pd.DataFrame(rows)


def _shares(box: list[float], width: int, height: int, view: str) -> list[float]:
    """Share of a box in each part of a view."""
    x, y, w, h = box
    return [
        max(0.0, min(x + w, x1) - max(x, x0)) / w * max(0.0, min(y + h, y1) - max(y, y0)) / h
        if w > 0 and h > 0
        else 0.0
        for x0, y0, x1, y1 in regions(view, width, height)
    ]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


def make_crops(
    looked: dict[str, str],
    *,
    questions_parquet: str | Path,
    images_parquet: str | Path,
    sizes_parquet: str | Path,
    pool_csv: str | Path,
    reader: str,
    scale: str,
    csv_path: str,
    json_path: str,
    markdown_path: str,
) -> None:
    """Publish the table of views as CSV, JSON and Markdown.

    looked: view -> file of `crops.write_looked`. sizes_parquet: of `images.pack`, of any view.
    reader: label of the reader that was asked.
    """
    questions = read_questions(questions_parquet)
    images = pd.read_parquet(images_parquet).sort_values("index").iloc[questions["image"]]
    sizes = pd.read_parquet(sizes_parquet).sort_values("index").iloc[questions["image"]]
    answers = list(questions["answers"])
    if images["boxes"].isna().any():
        boxes: Sequence[list[float] | None] = [None] * len(answers)
    else:
        words = [list(words) for words in images["words"]]
        boxes = answer_boxes(answers, words, [list(map(list, one)) for one in images["boxes"]])
    found = {view: read_looked(path, questions) for view, path in looked.items()}
    table = crop_table(
        {view: one for view, (one, _) in found.items()},
        AnswerKey(answers, list(read_pool(pool_csv)["answer"])),
        boxes,
        [*zip(sizes["width"], sizes["height"], strict=True)],
        next(size for _, size in found.values()),
        scale,
    )
    sheets.write_csv(table, csv_path)
    sheets.write_sheets([crop_sheet(table, reader)], json_path, markdown_path)


def crop_sheet(table: pd.DataFrame, reader: str) -> Sheet:
    """A line a view: its scores, what it shows, and where its answers come from."""
    headers = ["View", "Soft accuracy (%)", "Exact match (%)", "Answer shown (%)",
               "Its height (pixels)", "Winner shows it (%)", "a random part (%)",
               "First in the right part (%)", "in a random part (%)"]  # fmt: skip
    names = ("soft", "exact", "answer_shown", "height", "winner_shows", "winner_chance",
             "right_part_first", "random_part_first")  # fmt: skip
    lines = [
        [Cell(LABELS[view]), *(Cell(text[name] or "–") for name in names)]
        for view, text in zip(table["view"], sheets.texts(table, FORMATS), strict=True)
    ]
    first = table.iloc[0]
    return Sheet(
        f"Views of an image: {reader}",
        headers,
        lines,
        [
            f"n = {first['n']:,} questions. In {first['with_box']:,} OCR has a box of the answer;"
            " the columns from “Answer shown” on are of these, those of the right part of the"
            f" {first['in_pool']:,} whose answer is in the pool too.",
            "Of several parts each is asked, and the most similar answer of all wins. The right"
            " part is that which shows most of the answer.",
            f"Shown: at least {100 * WHOLE:.0f} % of the box, in one part or more. Height: median"
            " of the box in the model's pixels.",
            "The reader was trained on one view alone, so the others are new to it.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )
