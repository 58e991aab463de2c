"""OCR's words matched to the pool of answers: the peer of the readers."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from countclip.experiments.reading.controls import runs
from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.pool import AnswerKey, read_pool
from countclip.experiments.reading.predictions import of_places, write_predictions


class Matcher:
    """The answer of the pool that OCR's words suggest.

    A run of words that equals an answer wins: the longest run, then the first. Elsewhere the answer
    within `LARGEST_SHARE` of a run's letters changed, the least of them, then the one earlier in
    the pool. Else the most frequent answer.
    """

    LARGEST_SHARE = 0.34

    def __init__(self, pool: Sequence[str]) -> None:
        self.place_of = {answer: place for place, answer in enumerate(pool)}
        self.by_length: dict[int, list[tuple[str, int]]] = {}
        for answer, place in self.place_of.items():
            self.by_length.setdefault(len(answer), []).append((answer, place))

    def __call__(self, words: Sequence[str]) -> int:
        """The place of the answer in the pool."""
        candidates = runs(words)
        equal = [run for run in candidates if run in self.place_of]
        if equal:
            return self.place_of[max(equal, key=lambda run: (len(run.split()), len(run)))]
        best = (self.LARGEST_SHARE, 0)
        for run in candidates:
            for answer, place in self._alike(run, best[0]):
                longer = max(len(run), len(answer))
                best = min(best, (distance(run, answer, int(best[0] * longer)) / longer, place))
        return best[1]

    def _alike(self, run: str, share: float) -> Iterable[tuple[str, int]]:
        """Answers whose length does not rule them out."""
        for length, answers in self.by_length.items():
            if abs(length - len(run)) <= share * max(length, len(run)):
                yield from answers


def distance(one: str, other: str, most: int) -> int:
    """Levenshtein's distance of two texts; `most` + 1 where it is larger than that."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, another in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (letter != another))
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


def match(ocr_parquet: str | Path, images: Sequence[int], pool: Sequence[str]) -> np.ndarray:
    """The places (Q,) that the words in the image of each question suggest.

    images: index of each question's image.
    """
    read = pd.read_parquet(ocr_parquet).sort_values("index")["words"]
    matcher = Matcher(pool)
    of_image = {int(index): matcher(list(read.iloc[index])) for index in np.unique(images)}
    return np.array([of_image[int(index)] for index in images])


def predict(
    questions_parquet: str | Path, ocr_parquet: str | Path, pool_csv: str | Path, path: str | Path
) -> None:
    """Publish the answers that OCR's words suggest (`predictions.write_predictions`).

    ocr_parquet: of `ocr.read_images`, of the questions' images.
    """
    questions, pool = read_questions(questions_parquet), list(read_pool(pool_csv)["answer"])
    targets = AnswerKey(questions["answers"], pool).target
    places = match(ocr_parquet, questions["image"], pool)
    write_predictions(path, questions["question_id"].to_numpy(), of_places(places, targets))
