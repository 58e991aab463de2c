"""What is known without a model: chance, blind guessing, ceilings and the annotators themselves.

Each is the expected score of each question, computed and not drawn.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from countclip.experiments.reading.metric import agreement, majority, normalise, scores
from countclip.experiments.reading.pool import AnswerKey, Scores

FREQUENT = 100
"""Answers of LoRRA's random baselines "Rand 100" and "Wt. Rand 100"."""
LONGEST_RUN = 4
"""Words of OCR, one after the other, that make a candidate, as LoRRA's upper bound has it."""


def blind(key: AnswerKey, counts: Sequence[int]) -> dict[str, Scores]:
    """Controls that look at neither image nor question.

    counts: training questions of each candidate, falling, as a pool has them.
    """
    counts = np.asarray(counts, float)
    frequent = np.arange(len(counts)) < FREQUENT
    weights = {
        "uniform": np.ones(len(counts)),
        "random_100": frequent,
        "weighted_100": frequent * counts,
        "weighted": counts,
        "majority": np.arange(len(counts)) == 0,
    }
    return {name: key.expected(values / values.sum()) for name, values in weights.items()}


def shuffled(key: AnswerKey, predicted: np.ndarray) -> Scores:
    """Expected scores of a model's answers (Q,), dealt to the questions at random.

    What exceeds it comes from the images or the questions, and not from how often it says what.
    predicted: -1 for no answer.
    """
    predicted = np.asarray(predicted)
    counts = np.bincount(predicted[predicted >= 0], minlength=key.n)
    return key.expected(counts / len(predicted))


def from_question(
    train: pd.DataFrame, train_targets: Sequence[str], questions: Iterable[str], pool: Sequence[str]
) -> np.ndarray:
    """Places (Q,) of the answers that the question alone suggests.

    Of the training questions that begin with the same words, as many as possible, the commonest
    answer in the pool; of several the one earlier in the pool. train: `question`. train_targets:
    its normalised answers.
    """
    place_of = {answer: place for place, answer in enumerate(pool)}
    begun: dict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
    for question, target in zip(train["question"], train_targets, strict=True):
        if (place := place_of.get(target)) is not None:
            words = _words(question)
            for length in range(len(words) + 1):
                begun[words[:length]][place] += 1
    best = {
        start: min(counts, key=lambda place: (-counts[place], place))
        for start, counts in begun.items()
    }
    if () not in best:
        raise ValueError("no training question has an answer of the pool: make the pool of them")
    chosen = []
    for question in questions:
        words = _words(question)
        lengths = range(len(words), -1, -1)
        chosen.append(next(best[words[:n]] for n in lengths if words[:n] in best))
    return np.array(chosen)


def _words(question: str) -> tuple[str, ...]:
    return tuple(normalise(question).split())


def runs(words: Sequence[str], longest: int = LONGEST_RUN) -> list[str]:
    """Distinct normalised runs of at most `longest` words of OCR, in the order of their start."""
    found: dict[str, None] = {}
    for first in range(len(words)):
        for last in range(first + 1, min(first + longest, len(words)) + 1):
            found.setdefault(normalise(" ".join(words[first:last])))
    found.pop("", None)
    return list(found)


def ceilings(
    answers: Sequence[Sequence[str]], pool: Sequence[str], words: Sequence[Sequence[str]] | None
) -> dict[str, Scores]:
    """The scores of the best candidate: of the pool, of OCR's runs of words, and of both.

    words: of OCR in the image of each question; None leaves these two out.
    """
    in_pool = AnswerKey(answers, pool).ceiling()
    if words is None:
        return {"pool_ceiling": in_pool}
    soft, exact = np.zeros(len(answers)), np.zeros(len(answers))
    for row, (ten, read) in enumerate(zip(answers, words, strict=True)):
        candidates = set(runs(read))
        soft[row] = max((value for one, value in scores(ten).items() if one in candidates),
                        default=0.0)  # fmt: skip
        exact[row] = majority(ten) in candidates
    both = (np.maximum(one, other) for one, other in zip(in_pool, (soft, exact), strict=True))
    return {
        "pool_ceiling": in_pool,
        "ocr_ceiling": Scores(soft, exact),
        "pool_or_ocr_ceiling": Scores(*both),
    }


def annotators(answers: Sequence[Sequence[str]]) -> Scores:
    """The annotators of each question scored by each other (`metric.agreement`)."""
    return Scores(*np.array([agreement(ten) for ten in answers]).T)
