"""Answers by similarity: the best of a pool, the rank of the right one, and within clusters."""

from typing import NamedTuple

import numpy as np

TOP = 10
"""Candidates of a question that are kept."""
BLOCK = 512


class Ranked(NamedTuple):
    """Answers to Q questions.

    predicted: (Q,) place in the pool, -1 where no candidate is the single best.
    top: (Q, TOP) places of the most similar ones, of equals the first.
    probabilities: (Q, TOP) theirs, of a softmax over all candidates.
    rank: (Q,) of the right answer, 1 for the best; -1 where it is outside the pool. Ties count
        against the model: a rank is the number of candidates at least as similar. Similarities that
        are no numbers rank last.
    """

    predicted: np.ndarray
    top: np.ndarray
    probabilities: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, parts: list["Ranked"]) -> "Ranked":
        """The questions of several parts, one after the other."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


def rank(
    queries: np.ndarray,
    pool: np.ndarray,
    targets: np.ndarray,
    logit_scale: float = 1.0,
    top: int = TOP,
) -> Ranked:
    """Rank the pool (N, d) for queries (Q, d), both of unit length.

    targets: (Q,) places or -1. logit_scale: factor of the cosines in the softmax. top: how many
    places of a question are kept.
    """
    targets, parts = np.asarray(targets), []
    for start in range(0, len(queries), BLOCK):
        part = slice(start, start + BLOCK)
        similarities = similarities_of(queries[part], pool)
        parts.append(ranked(similarities, targets[part], logit_scale, top))
    return Ranked.of(parts)


def similarities_of(queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Similarities (Q, N); what is no number is lower than all."""
    found = np.asarray(queries, np.float32) @ np.asarray(pool, np.float32).T
    return np.where(np.isfinite(found), found, -np.inf)


def ranked(
    similarities: np.ndarray, targets: np.ndarray, logit_scale: float = 1.0, top: int = TOP
) -> Ranked:
    """Rank candidates by similarities (Q, N); the others as `rank` has them."""
    rows = np.arange(len(similarities))
    best = similarities.max(axis=1)
    single = ((similarities == best[:, None]).sum(axis=1) == 1) & np.isfinite(best)
    kept = np.argsort(-similarities, axis=1, kind="stable")[:, :top]
    shares = np.exp(
        logit_scale * (similarities.astype(float) - np.where(np.isfinite(best), best, 0)[:, None])
    )
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    ranks = (similarities >= similarities[rows, targets][:, None]).sum(axis=1)
    return Ranked(
        predicted=np.where(single, similarities.argmax(axis=1), -1),
        top=kept,
        probabilities=np.take_along_axis(shares, kept, axis=1),
        rank=np.where(targets >= 0, ranks, -1),
    )


def within(
    queries: np.ndarray,
    pool: np.ndarray,
    targets: np.ndarray,
    clusters: np.ndarray,
    members: dict[int, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the right answer is best among those of its question's cluster, and their number.

    clusters: (Q,) of each question. members: cluster -> places in the pool of the answers of its
    training pairs, to which the right answer is added. Both results are float (Q,), nan where the
    right answer is outside the pool.
    """
    hits, numbers = np.full(len(queries), np.nan), np.full(len(queries), np.nan)
    for row in np.flatnonzero(np.asarray(targets) >= 0):
        candidates = np.union1d(members.get(int(clusters[row]), []), targets[row]).astype(int)
        similarities = similarities_of(queries[row : row + 1], pool[candidates])[0]
        right = similarities[candidates == targets[row]][0]
        hits[row] = (similarities >= right).sum() == 1
        numbers[row] = len(candidates)
    return hits, numbers
