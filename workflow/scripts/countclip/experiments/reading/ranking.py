"""Answers by similarity: the best of a pool, the rank of the right one, and within clusters."""

from typing import NamedTuple

import numpy as np

TOP = 10
"""Candidates of a question that are kept."""
BLOCK = 512


class Ranked(NamedTuple):
    """Of Q questions: predicted (Q,) place in the pool, -1 where no candidate is the single best.

    top: (Q, TOP), the places of the most similar ones, of equals the first. rank: (Q,) of the right
    answer, 1 for the best; -1 where it is outside the pool. Ties count against the model: a rank is
    the number of candidates at least as similar. Similarities that are no numbers rank last.
    """

    predicted: np.ndarray
    top: np.ndarray
    rank: np.ndarray


def rank(queries: np.ndarray, pool: np.ndarray, targets: np.ndarray) -> Ranked:
    """Rank the pool (N, d) for queries (Q, d), both of unit length. targets: (Q,) places or -1."""
    targets, parts = np.asarray(targets), []
    for start in range(0, len(queries), BLOCK):
        part = slice(start, start + BLOCK)
        parts.append(ranked(similarities_of(queries[part], pool), targets[part]))
    return Ranked(*map(np.concatenate, zip(*parts, strict=True)))


def similarities_of(queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Similarities (Q, N); what is no number is lower than all."""
    found = np.asarray(queries, np.float32) @ np.asarray(pool, np.float32).T
    return np.where(np.isfinite(found), found, -np.inf)


def ranked(similarities: np.ndarray, targets: np.ndarray) -> Ranked:
    """Rank candidates by similarities (Q, N)."""
    rows = np.arange(len(similarities))
    best = similarities.max(axis=1)
    single = ((similarities == best[:, None]).sum(axis=1) == 1) & np.isfinite(best)
    predicted = np.where(single, similarities.argmax(axis=1), -1)
    top = np.argsort(-similarities, axis=1, kind="stable")[:, :TOP]
    right = similarities[rows, targets]
    ranks = (similarities >= right[:, None]).sum(axis=1)
    return Ranked(predicted, top, np.where(targets >= 0, ranks, -1))


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
