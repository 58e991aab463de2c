"""Where a model looks: views that show an image in parts, and which part answers.

A view shows k parts of each image. Each part is asked, and the most similar answer of all wins. The
right part is that which shows most of the answer, where OCR's boxes say where it stands.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from countclip.experiments.reading.controls import runs
from countclip.experiments.reading.metric import majority
from countclip.experiments.reading.pool import AnswerKey
from countclip.experiments.reading.ranking import Ranked, rank, ranked, similarities_of
from countclip.experiments.reading.views import regions, shown

WHOLE = 0.97
"""Share of a box inside a view from which it counts as shown."""


class Looked(NamedTuple):
    """Of Q questions: ranked (`ranking.Ranked`) by all k parts, winner (Q,) the part with the most
    similar answer, by_part (Q, k) the right answer's rank in each part, -1 outside the pool."""

    ranked: Ranked
    winner: np.ndarray
    by_part: np.ndarray


def look(queries: np.ndarray, pool: np.ndarray, targets: np.ndarray) -> Looked:
    """Rank the pool (N, d) for queries (Q, k, d) of the k parts of each image."""
    n, k, _ = queries.shape
    by_part = np.stack([rank(queries[:, part], pool, targets).rank for part in range(k)], axis=1)
    parts, winner = [], np.empty(n, int)
    for row in range(n):
        similarities = similarities_of(queries[row], pool)
        winner[row] = similarities.max(axis=1).argmax()
        best = similarities.max(axis=0, keepdims=True)
        parts.append(ranked(best, targets[row : row + 1]))
    return Looked(Ranked.of(parts), winner, by_part)


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
    boxes: list[list[float] | None],
    sizes: list[tuple[int, int]],
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
        of_parts = np.array(shares).reshape(len(placed), -1)
        winner_shows = of_parts[range(len(placed)), found.winner[placed]] >= WHOLE
        in_pool = found.by_part[placed][:, 0] >= 0
        first = found.by_part[placed] == 1
        right_part = first[range(len(placed)), of_parts.argmax(axis=1)]
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
