"""Where a model looks: views that show an image in parts, and which part answers.

A view shows k parts of each image. Each part is asked, and the most similar answer of all wins.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from countclip.experiments.reading.ranking import Ranked, rank, ranked, similarities_of
from countclip.runtime.files import write_table


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


def write_looked(
    path: str | Path, question_ids: np.ndarray, looked: Looked, model_size: int
) -> None:
    """Publish what a view answers, a row a question; `model_size`, in pixels, goes into its head.

    Columns: question_id, the fields of `Ranked`, winner and by_part.
    """
    import pyarrow as pa

    found = looked.ranked
    columns = {
        "question_id": pa.array(question_ids, pa.int64()),
        "predicted": pa.array(found.predicted, pa.int32()),
        "top": pa.array(list(found.top), pa.list_(pa.int32())),
        "probabilities": pa.array(list(found.probabilities), pa.list_(pa.float64())),
        "rank": pa.array(found.rank, pa.int32()),
        "winner": pa.array(looked.winner, pa.int32()),
        "by_part": pa.array(list(looked.by_part), pa.list_(pa.int32())),
    }
    write_table(pa.table(columns), path, {"model_size": str(model_size)})


def read_looked(path: str | Path, questions: pd.DataFrame) -> tuple[Looked, int]:
    """What a view answers to `questions`, and the model's size; ValueError for other questions."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    size = int(table.schema.metadata[b"model_size"])
    frame = table.to_pandas()
    if frame["question_id"].tolist() != questions["question_id"].tolist():
        raise ValueError(
            f"{path}: answers other questions than those of the validation split: delete it and"
            " run again"
        )
    fields = {name: np.stack(frame[name].to_list()) for name in Ranked._fields}
    return Looked(
        Ranked(**fields), frame["winner"].to_numpy(), np.stack(frame["by_part"].to_list())
    ), size
