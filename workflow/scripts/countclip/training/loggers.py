"""Loggers that show a training while it runs: TensorBoard."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from countclip.model.libraries import Logger, TensorBoardLogger, rank_zero_only


@contextmanager
def open_loggers(
    names: Sequence[str], metadata: dict[str, Any], folder: str = "logs"
) -> Iterator[list[Logger]]:
    """One logger for each of `names` (`tensorboard`), under `folder`, closed at the end however it
    comes. Of a training's processes only the first has any.

    metadata: of the run, whose `variant` and `seed` name its folder.
    """
    loggers: list[Logger] = []
    for name in names if rank_zero_only.rank == 0 else ():
        if name != "tensorboard":
            raise ValueError(f"training.loggers: unknown {name!r}; use tensorboard")
        loggers.append(
            TensorBoardLogger(
                f"{folder}/tensorboard", metadata["variant"], f"seed{metadata['seed']}"
            )
        )
    status = "failed"
    try:
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
