"""The trainings of a study: a few methods at each of its levels, in several draws.

Draw d is of fold d (again from the first after the last) and has the seed d.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from countclip.experiments.ordinal.levels import STUDIES, Level
from countclip.experiments.ordinal.methods import method_of
from countclip.runtime.files import digest, write_table


class Cell(NamedTuple):
    """A method at a level in a draw, from 1; fold: of the draw, from 1."""

    level: Level
    draw: int
    fold: int
    method: str


def cells(levels: list[Level], draws: int, folds: int, methods: list[str]) -> Iterator[Cell]:
    """All cells of a study, level by level."""
    for level in levels:
        for draw in range(1, draws + 1):
            for method in methods:
                yield Cell(level, draw, (draw - 1) % folds + 1, method)


def run(
    study: str,
    folds: list[str],
    images: str,
    path: str,
    state: str,
    *,
    model: dict[str, Any],
    task: dict[str, Any],
    levels: list[Any],
    draws: int,
    methods: dict[str, dict[str, Any]],
    training: dict[str, Any],
    evaluation: dict[str, Any] | None = None,
    threads: int,
    checkpoint_minutes: float = 10,
) -> None:
    """Publish the predictions of a study as Parquet: one row a level, draw, method and image.

    folds: tables of all folds. methods: id -> `method`, of `methods.METHODS`, and `options`.
    training: further settings of `train.finetune`. evaluation: `accelerator`, `precision` and
        `batch` of `evaluate.predict`, where they differ from its defaults.
    state: folder of what is finished so far. A killed run goes on there to the same predictions; it
        is removed at the end.
    """
    chosen = [STUDIES[study].level(setting, task) for setting in levels]
    parts = []
    for cell in cells(chosen, draws, len(folds), list(methods)):
        folder = Path(state) / digest(cell.level.text, str(cell.draw), cell.method)
        fold = cell.level.part(pd.read_parquet(folds[cell.fold - 1]), cell.draw)
        predictions = folder / "predictions.parquet"
        if not predictions.exists():
            _predict(
                cell, fold, images, folder, predictions,
                model=model, training=training | {"checkpoint_minutes": checkpoint_minutes},
                evaluation=evaluation or {}, threads=threads, **methods[cell.method],
            )  # fmt: skip
        parts.append(
            pd.read_parquet(predictions).assign(
                level=cell.level.text,
                draw=cell.draw,
                fold=cell.fold,
                method=cell.method,
                n_train=int((fold["part"] == "train").sum()),
            )
        )
    write_table(_typed(pd.concat(parts, ignore_index=True)), path)
    shutil.rmtree(state)


def _predict(
    cell: Cell,
    fold: pd.DataFrame,
    images: str,
    folder: Path,
    predictions: Path,
    *,
    model: dict[str, Any],
    training: dict[str, Any],
    evaluation: dict[str, Any],
    threads: int,
    method: str,
    options: dict[str, Any],
) -> None:
    """Train the method of a cell, if it is trained, and publish its predictions."""
    from countclip.experiments.ordinal import evaluate, train  # slow to import

    trained = folder / "training"
    trained.mkdir(parents=True, exist_ok=True)
    table = str(trained / "fold.parquet")
    fold.to_parquet(table, index=False)
    common = {"model": model, "task": cell.level.task, "method": method, "options": options}
    weights = None
    if method_of(method, options).losses:
        outputs = {
            name: str(trained / f"{name}.safetensors") for name in ("end", "selected", "best")
        }
        outputs |= {"history": str(trained / "history.csv"), "model": str(trained / "model.json")}
        train.finetune(
            table,
            images,
            outputs,
            str(trained / "state"),
            {"draw": cell.draw},
            seed=cell.draw,
            threads=threads,
            **common,
            **training,
        )
        weights = outputs["selected"]
    evaluate.predict(
        table,
        images,
        weights,
        str(predictions),
        logit_scale=training["logit_scale"],
        threads=threads,
        **evaluation,
        **common,
    )
    shutil.rmtree(trained)


def _typed(table: pd.DataFrame) -> Any:
    """An Arrow table whose bytes follow from its values."""
    import pyarrow as pa

    return pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
