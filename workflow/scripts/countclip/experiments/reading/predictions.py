"""Files of predictions: a row a question of the validation split, one Parquet a model and seed."""

from pathlib import Path

import numpy as np
import pandas as pd

from countclip.experiments.reading.hard_on import HARD_ON
from countclip.experiments.reading.ranking import TOP, Ranked
from countclip.runtime.files import write_table


def write_predictions(
    path: str | Path,
    question_ids: np.ndarray,
    ranked: Ranked,
    within: dict[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> None:
    """Publish predictions: question_id and the fields of `Ranked`.

    within: clustering -> hits and numbers of `ranking.within`; columns within_<clustering> and
    candidates_<clustering>, nan where there is none.
    """
    import pyarrow as pa

    nothing = np.full(len(question_ids), np.nan)
    columns = {
        "question_id": pa.array(question_ids, pa.int64()),
        "predicted": pa.array(ranked.predicted, pa.int32()),
        "rank": pa.array(ranked.rank, pa.int32()),
        "top": pa.array(list(ranked.top), pa.list_(pa.int32())),
        "probabilities": pa.array(list(ranked.probabilities), pa.list_(pa.float64())),
    }
    for name in HARD_ON:
        hits, numbers = (within or {}).get(name, (nothing, nothing))
        columns[f"within_{name}"] = pa.array(hits, pa.float64())
        columns[f"candidates_{name}"] = pa.array(numbers, pa.float64())
    write_table(pa.table(columns), path)


def read_predictions(path: str | Path, questions: pd.DataFrame, n: int) -> pd.DataFrame:
    """The predictions on `questions`, in their order; ValueError for others.

    n: answers of the pool.
    """
    table = pd.read_parquet(path)
    if table["question_id"].tolist() != questions["question_id"].tolist():
        raise ValueError(
            f"{path}: predicted on other questions than those of the validation split: delete it"
            " and run again"
        )
    if table["predicted"].max() >= n or table["predicted"].min() < -1:
        raise ValueError(f"{path}: predicted from another pool: delete it and run again")
    return table


def of_places(predicted: np.ndarray, targets: np.ndarray) -> Ranked:
    """Predictions of a method that has no ranking: its one answer, -1 for none.

    The right answer ranks first where it was given, and behind the kept ones elsewhere.
    """
    predicted, targets = np.asarray(predicted), np.asarray(targets)
    ranks = np.where(predicted == targets, 1, TOP + 1)
    sure = np.ones((len(predicted), 1))
    return Ranked(predicted, predicted[:, None], sure, np.where(targets >= 0, ranks, -1))
