"""Files of predictions: one Parquet a seed, method and fold, `seed1/<method>/<fold>.parquet`."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from countclip.experiments.ordinal.bins import Bins
from countclip.runtime.files import write_table

DECODINGS = ("argmax", "expectation")
"""Columns of predicted values: that of the most probable class, and the expected one."""


class Answers(NamedTuple):
    """What a method predicts for n images; None where it has none.

    predicted_bin: index of the most probable bin. argmax: its value. expectation: expected value,
    or a regressor's. probabilities: (n, K), of the bins.
    """

    predicted_bin: np.ndarray | None = None
    argmax: np.ndarray | None = None
    expectation: np.ndarray | None = None
    probabilities: np.ndarray | None = None


def decode(
    probabilities: np.ndarray, expectation: np.ndarray, concepts: Bins, bins: Bins
) -> Answers:
    """Answers from the probabilities (n, C) of concepts, which are the bins or finer.

    The most probable concept is the lowest of equals. The probability of a bin is the sum of those
    of the concepts whose midpoints it holds.
    """
    argmax = np.array(concepts.midpoints)[probabilities.argmax(axis=1)]
    members = np.equal.outer(bins.of(concepts.midpoints), np.arange(len(bins)))
    return Answers(bins.of(argmax), argmax, expectation, probabilities @ members)


def write_predictions(
    answers: Answers,
    *,
    index: np.ndarray,
    labels: np.ndarray,
    groups: Iterable[str | None],
    bins: Bins,
    path: str,
) -> None:
    """Publish the predictions of a method on one fold's test images.

    index: of each image in the data. groups: whose images are not independent, such as a person.
    ValueError for a prediction that is not finite.
    """
    import pyarrow as pa

    for name, values in answers._asdict().items():
        if values is not None and not np.isfinite(values).all():
            raise ValueError(
                f"{path}: {name} is not finite for {np.sum(~np.isfinite(values))} values; lower the"
                " learning rate of this method and run again"
            )
    columns = {"index": index, "label": labels, "group": list(groups), "bin": bins.of(labels)}
    columns |= {
        name: [None] * len(index) if values is None else list(values)
        for name, values in answers._asdict().items()
    }
    schema = pa.schema(
        [
            ("index", pa.int32()),
            ("label", pa.float64()),
            ("group", pa.string()),
            ("bin", pa.int16()),
            ("predicted_bin", pa.int16()),
            ("argmax", pa.float64()),
            ("expectation", pa.float64()),
            ("probabilities", pa.list_(pa.float64())),
        ]
    )
    write_table(pa.table(columns, schema=schema), path)


def read_predictions(paths: list[str]) -> pd.DataFrame:
    """All predictions in one frame, with `method`, `fold` and `seed` from the paths.

    paths: <method>/<fold>.parquet, in a folder seed<seed> where a method has several; 0 elsewhere.
    ValueError if methods saw other images in a fold, or a column has gaps within a method.
    """
    frames = {_origin(Path(path)): pd.read_parquet(path) for path in paths}
    images: dict[str, tuple[str, pd.DataFrame]] = {}
    for path, ((_, _, fold), frame) in zip(paths, frames.items(), strict=True):
        seen = frame[["index", "label", "group", "bin"]]
        first, expected = images.setdefault(fold, (path, seen))
        if not seen.equals(expected):
            raise ValueError(
                f"{path}: predicted on other images than {first}: delete both and run again"
            )
    table = pd.concat(
        [
            frame.assign(method=method, seed=seed, fold=fold)
            for (method, seed, fold), frame in frames.items()
        ],
        ignore_index=True,
    )
    for method, rows in table.groupby("method", sort=False):
        for seed, of_seed in rows.groupby("seed"):
            if lacking := sorted(set(images).difference(of_seed["fold"])):
                raise ValueError(
                    f"{method}: no predictions of {', '.join(lacking)} with seed {seed}: make them"
                    " first"
                )
        counts = rows[list(Answers._fields)].notna().sum()
        if gaps := [name for name, count in counts.items() if count not in (0, len(rows))]:
            raise ValueError(
                f"{method}: {', '.join(gaps)} is missing for some images or folds, not for all:"
                " delete its predictions and run again"
            )
        if not counts[list(DECODINGS)].any():
            raise ValueError(f"{method}: neither of {', '.join(DECODINGS)} has a value")
    return table


def _origin(path: Path) -> tuple[str, int, str]:
    """Method, seed and fold of a file of predictions."""
    seed = re.fullmatch(r"seed(\d+)", path.parents[1].name)
    return path.parent.name, int(seed[1]) if seed else 0, path.stem
