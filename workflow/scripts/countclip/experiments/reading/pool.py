"""The pool of answers that a model chooses from, and how the questions score each of them.

The rule: each training question gives its majority answer, normalised. Answers are ordered by the
number of their questions, falling, then by text, and the first ones are the pool. Only 3,996
answers are the majority's twice or more in TextVQA (Singh et al. 2019), so the order by text
decides most of a pool of 10,000.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from countclip.experiments.reading.metric import ANSWERS, majority, normalise, scores
from countclip.runtime.files import publish, sha256, write_json

log = logging.getLogger(__name__)

META_ANSWERS = (
    "unanswerable",
    "not question",
    "no text in image",
    "answering does not require reading text in image",
)
"""Normalised answers of annotators on the question, and not to it."""


def targets(answers: Sequence[Sequence[str]]) -> pd.DataFrame:
    """The answer of each question that a training uses: target, and its spelling.

    target: the majority answer, normalised. spelling: how most annotators who gave it wrote it, of
    several the first by text.
    """
    rows = []
    for ten in answers:
        target = majority(ten)
        spellings = Counter(answer for answer in ten if normalise(answer) == target)
        rows.append((target, min(spellings, key=lambda text: (-spellings[text], text))))
    return pd.DataFrame(rows, columns=["target", "spelling"])


def make_pool(
    questions: pd.DataFrame,
    size: int,
    *,
    meta_answers: bool = True,
    pool_csv: str | Path,
    summary_json: str | Path,
) -> pd.DataFrame:
    """Publish the pool (place, answer, spelling, count) of training questions, and its summary.

    size: answers in it; fewer where there are no more. meta_answers: whether META_ANSWERS stay in.
    The summary has the digest of the pool's file, and what was left out, by reason. ValueError for
    an empty pool.
    """
    table = targets(questions["answers"])
    is_meta = table["target"].isin(META_ANSWERS) & (not meta_answers)
    is_empty = table["target"] == ""
    table = table[~is_meta & ~is_empty]
    counts = table.groupby("target").size()
    spellings = table.groupby("target")["spelling"].agg(_commonest)
    order = sorted(counts.index, key=lambda answer: (-counts[answer], answer))[:size]
    if not order:
        raise ValueError(
            f"the pool of answers is empty: of {len(questions)} training questions"
            f" {is_empty.sum()} have an empty majority answer and {is_meta.sum()} a meta-answer;"
            f" the pool's size is {size}: check the training questions, or raise the size"
        )
    pool = pd.DataFrame(
        {
            "place": range(len(order)),
            "answer": order,
            "spelling": [spellings[answer] for answer in order],
            "count": [int(counts[answer]) for answer in order],
        }
    )
    if len(pool) < size:
        log.warning("the pool has %d answers, and not %d: there are no more", len(pool), size)
    with publish(pool_csv) as temporary:
        pool.to_csv(temporary, index=False, lineterminator="\n")
    summary = {
        "answers": len(pool),
        "size": size,
        "questions": len(questions),
        "distinct_majority_answers": len(counts),
        "of_them_once": int((counts == 1).sum()),
        "in_the_pool_once": int((pool["count"] == 1).sum()),
        "questions_left_out": {"empty": int(is_empty.sum()), "meta_answer": int(is_meta.sum())},
        "questions_covered": int(pool["count"].sum()),
        "sha256": sha256(pool_csv),
    }
    write_json(summary, summary_json)
    return pool


def _commonest(texts: pd.Series) -> str:
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text))


def read_pool(pool_csv: str | Path) -> pd.DataFrame:
    """The pool: place, answer, spelling, count."""
    texts = {"answer": str, "spelling": str}
    return pd.read_csv(pool_csv, dtype=texts, keep_default_na=False)


class Scores(NamedTuple):
    """Soft score and exact match of each of Q questions, (Q,) each in [0, 1]."""

    soft: np.ndarray
    exact: np.ndarray


class AnswerKey:
    """How each of Q questions scores each of N candidates, the answers of a pool.

    places: (Q, 10) int, of the candidates that score, -1 where there are fewer. scores: (Q, 10),
    their soft scores. target: (Q,) int, the place of the majority answer, -1 outside the pool.
    """

    def __init__(self, answers: Sequence[Sequence[str]], candidates: Sequence[str]) -> None:
        place_of = {answer: place for place, answer in enumerate(candidates)}
        if len(place_of) < len(candidates):
            raise ValueError(
                f"{len(candidates) - len(place_of)} candidates are there twice: write each answer"
                " once, normalised"
            )
        self.n = len(candidates)
        self.places = np.full((len(answers), ANSWERS), -1)
        self.scores = np.zeros((len(answers), ANSWERS))
        for row, ten in enumerate(answers):
            found = [(place_of[one], value) for one, value in scores(ten).items()
                     if one in place_of]  # fmt: skip
            for column, (place, value) in enumerate(found):
                self.places[row, column], self.scores[row, column] = place, value
        self.target = np.array([place_of.get(majority(ten), -1) for ten in answers])

    def of(self, predicted: np.ndarray) -> Scores:
        """The scores of one candidate for each question, (Q,) places; -1 scores 0."""
        predicted = np.asarray(predicted)
        is_it = (self.places == predicted[:, None]) & (self.places >= 0)
        exact = (predicted == self.target) & (self.target >= 0)
        return Scores((self.scores * is_it).sum(axis=1), exact.astype(float))

    def expected(self, shares: np.ndarray) -> Scores:
        """Expected scores where each candidate is the answer with its share (N,), sum at most 1."""
        shares = np.append(np.asarray(shares, float), 0.0)  # of place -1
        return Scores((self.scores * shares[self.places]).sum(axis=1), shares[self.target])

    def ceiling(self) -> Scores:
        """The scores of the best candidate of each question."""
        return Scores(self.scores.max(axis=1), (self.target >= 0).astype(float))


def said(predicted: np.ndarray, n: int) -> dict[str, float]:
    """What a model says, whatever is right: distinct answers, and the commonest one's share.

    predicted: places (Q,) in a pool of n, -1 for none. commonest: its place, the lowest of equals.
    """
    predicted = np.asarray(predicted)
    counts = np.bincount(predicted[predicted >= 0], minlength=n)
    return {
        "distinct_answers": int((counts > 0).sum()),
        "commonest": int(counts.argmax()),
        "commonest_share": float(counts.max() / len(predicted)),
    }
