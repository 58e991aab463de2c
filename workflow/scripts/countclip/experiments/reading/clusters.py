"""Clusters of similar pairs, from which batches of hard negatives are made.

A pair is a training question with its image and its answer. Pairs are similar in the embeddings of
their images, questions or answers (`HARD_ON`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.embeddings import read_split
from countclip.experiments.reading.hard_on import HARD_ON
from countclip.experiments.reading.metric import normalise
from countclip.experiments.reading.pool import targets
from countclip.runtime.files import write_json, write_table

ITERATIONS = 20
"""Of k-means."""


def features(embeddings: dict[str, np.ndarray], hard_on: str) -> np.ndarray:
    """float32 (n, d) of unit length: the normalised embeddings (n, ...) side by side.

    embeddings: `image`, `question` and `answer` of each pair, those that `hard_on` needs.
    """
    parts = [_unit(embeddings[name]) for name in HARD_ON[hard_on]]
    return _unit(np.concatenate(parts, axis=1))


def cluster(points: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster unit vectors (n, d) by spherical k-means: labels int32 (n,), centroids (k, d).

    size: pairs of a cluster on average, such as a batch. Clusters differ in size. A function of the
    points and the seed, on any number of threads: it runs on one. ValueError for points that are
    not finite.
    """
    import faiss

    points = np.ascontiguousarray(points, dtype=np.float32)
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise ValueError(
            f"{len(bad)} embeddings are not finite, the first of pair {bad[0]}: embed them anew"
        )
    n, dimension = points.shape
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        kmeans = faiss.Kmeans(
            dimension,
            max(1, round(n / size)),
            niter=ITERATIONS,
            seed=seed,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=n,  # all of them, and no sample
        )
        kmeans.train(points)
        labels = assign(points, kmeans.centroids)
    finally:
        faiss.omp_set_num_threads(threads)
    return labels, kmeans.centroids


def assign(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The cluster of each of the unit vectors (n, d), int32 (n,): the most similar centroid.

    Similarities that are equal to nine decimals are ties, which go to the first.
    """
    centroids, block, labels = centroids.T.astype(float), 4096, []
    for start in range(0, len(points), block):
        similarities = points[start : start + block].astype(float) @ centroids
        labels.append(similarities.round(9).argmax(axis=1))
    return np.concatenate(labels).astype(np.int32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)


def make_clusters(
    train: dict[str, str],
    validation: dict[str, str],
    *,
    hard_on: str,
    size: int,
    seed: int,
    clusters_parquet: str | Path,
    summary_json: str | Path,
) -> dict[str, Any]:
    """Publish the cluster of each question: split, row, cluster; and a summary, which is returned.

    train, validation: `questions` and `embeddings` of a split. Validation questions are assigned to
    the clusters of the training questions. The summary has the sizes, and the share of false
    negatives in batches of `size` with a random share of 0, 0.5 and 1.
    """
    embedded = read_split(train["embeddings"]).by_name()
    labels, centroids = cluster(features(embedded, hard_on), size, seed)
    others = read_split(validation["embeddings"]).by_name()
    tables = [
        pd.DataFrame({"split": name, "row": np.arange(len(of_split)), "cluster": of_split})
        for name, of_split in (
            ("train", labels),
            ("validation", assign(features(others, hard_on), centroids)),
        )
    ]
    found = false_negatives_of(read_questions(train["questions"]))
    sizes = np.bincount(labels)
    summary = {
        "hard_on": hard_on,
        "clusters": int((sizes > 0).sum()),
        "smallest": int(sizes[sizes > 0].min()),
        "median": float(np.median(sizes[sizes > 0])),
        "largest": int(sizes.max()),
        "false_negatives": {
            str(share): found.share(Draws(labels, size=size, random_share=share, seed=seed))
            for share in (0.0, 0.5, 1.0)
        },
    }
    write_table(pd.concat(tables, ignore_index=True), clusters_parquet)
    write_json(summary, summary_json)
    return summary


def read_clusters(clusters_parquet: str | Path, split: str) -> np.ndarray:
    """The cluster of each question of a split, (Q,)."""
    table = pd.read_parquet(clusters_parquet)
    return table[table["split"] == split].sort_values("row")["cluster"].to_numpy()


class Draws:
    """Which pairs each step sees: a share from all pairs, the others from one cluster on.

    In each pass over the n pairs the clusters have another order, and the pairs in each too. Laid
    end to end they are cut into batches, so what is left of a cluster goes on with the next one.
    The random share of a pass is drawn from all pairs first, so no pair comes twice in it. Fewer
    than `size` pairs are left over, others in each pass.

    clusters: of each pair, (n,). size: pairs of a batch. random_share: 0 takes clusters alone, 1
    none. What a step sees depends on these, on the seed and on the step.
    """

    def __init__(
        self, clusters: Sequence[int], *, size: int, random_share: float, seed: int
    ) -> None:
        self.clusters = np.asarray(clusters)
        if not 2 <= size <= len(self.clusters):
            raise ValueError(
                f"a batch of {size} pairs from {len(self.clusters)}: set the batch size to at least"
                " 2, and at most as many as there are pairs"
            )
        if not 0 <= random_share <= 1:
            raise ValueError(f"random_share is {random_share}: it must be between 0 and 1")
        self.size, self.seed = size, seed
        self.random = round(random_share * size)
        self._pass: tuple[int, np.ndarray] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a pass over the pairs."""
        return len(self.clusters) // self.size

    def rows(self, step: int) -> np.ndarray:
        """The pairs of a step, int (size,), all different; those from clusters come first."""
        number, place = divmod(step, self.steps_per_epoch)
        if self._pass is None or self._pass[0] != number:
            self._pass = number, self._order(number)
        return self._pass[1][place]

    def _order(self, number: int) -> np.ndarray:
        """Pairs of all steps of a pass, (steps, size)."""
        rng = np.random.default_rng([self.seed, 1, number])
        steps = self.steps_per_epoch
        rows = rng.permutation(len(self.clusters))
        at_random, others = rows[: steps * self.random], rows[steps * self.random :]
        place = rng.permutation(self.clusters.max() + 1)[self.clusters[others]]
        chained = others[np.argsort(place, kind="stable")][: steps * (self.size - self.random)]
        return np.concatenate([chained.reshape(steps, -1), at_random.reshape(steps, -1)], axis=1)


class FalseNegatives:
    """Which wrong pairs of a batch are right: where the answer of one scores for another.

    answers: ten normalised ones of each pair. targets: what it is trained with. images: of each
    pair, (n,), where the image alone is asked; two pairs with one image are then alike.
    """

    def __init__(
        self,
        answers: Sequence[Sequence[str]],
        targets: Sequence[str],
        images: Sequence[int] | None = None,
    ) -> None:
        codes: dict[str, int] = {}
        self.answers = np.array(
            [[codes.setdefault(answer, len(codes)) for answer in ten] for ten in answers]
        )
        self.targets = np.array([codes.setdefault(target, len(codes)) for target in targets])
        self.images = None if images is None else np.asarray(images)

    def among(self, rows: np.ndarray) -> np.ndarray:
        """bool (B, B): whether the answer of pair j, the column, is right for pair i; i != j."""
        right = np.isin(self.answers[rows], self.targets[rows])
        matrix = np.zeros((len(rows), len(rows)), bool)
        for place in range(self.answers.shape[1]):
            one = right[:, place]
            matrix[one] |= self.answers[rows][one, place, None] == self.targets[rows]
        if self.images is not None:
            matrix |= self.images[rows][:, None] == self.images[rows]
        np.fill_diagonal(matrix, False)
        return matrix

    def share(self, draws: Draws, steps: int | None = None) -> float:
        """Share of false negatives among the wrong pairs of the first `steps`, or of a pass."""
        steps = draws.steps_per_epoch if steps is None else steps
        found = sum(int(self.among(draws.rows(step)).sum()) for step in range(steps))
        return found / (steps * draws.size * (draws.size - 1))


def false_negatives_of(questions: pd.DataFrame, asks: str = "image+question") -> FalseNegatives:
    """False negatives among training questions. Where the image alone is asked, two questions on
    one image are alike too."""
    return FalseNegatives(
        [[normalise(answer) for answer in ten] for ten in questions["answers"]],
        targets(questions["answers"])["target"],
        questions["image"].to_numpy() if asks == "image" else None,
    )
