"""Where can a run be watched while it trains? TensorBoard, and Weights & Biases if asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning_fabric.loggers import Logger, TensorBoardLogger
from lightning_fabric.utilities import rank_zero_only


@contextmanager
def open_loggers(
    names: Sequence[str], about: dict[str, Any], folder: str = "logs"
) -> Iterator[list[Logger]]:
    """One logger for each of `names` (`tensorboard`, `wandb`), under `folder`, closed at the end
    however it comes. Of a training's processes only the first has any.

    about: of the run; `variant` and `seed` name it.
    """
    made = _made(names, about, folder) if rank_zero_only.rank == 0 else []
    status = "failed"
    try:
        yield made
        status = "success"
    finally:
        for logger in made:
            logger.finalize(status)


def _made(names: Sequence[str], about: dict[str, Any], folder: str) -> list[Logger]:
    made: list[Logger] = []
    for name in names:
        if name == "tensorboard":
            made.append(
                TensorBoardLogger(f"{folder}/tensorboard", about["variant"], f"seed{about['seed']}")
            )
        elif name == "wandb":
            made.append(WandbLogger(about, folder))
        else:
            raise ValueError(f"training.loggers: unknown {name!r}; use tensorboard or wandb")
    return made


class WandbLogger(Logger):
    """Weights & Biases; where it sends to is its own environment's business (WANDB_MODE...)."""

    def __init__(self, about: dict[str, Any], folder: str) -> None:
        if find_spec("wandb") is None:
            raise ModuleNotFoundError(
                "training.loggers asks for wandb, which is not installed:"
                " `pip install wandb` and `wandb login`, or take it off the list"
            )
        import wandb

        Path(folder).mkdir(parents=True, exist_ok=True)
        self._name, self._version = about["variant"], f"seed{about['seed']}"
        self.run = wandb.init(
            project="countclip", name=f"{self.name}/{self.version}", config=about, dir=folder
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return self._version

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.run.log(metrics, step=step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.run.config.update(params)

    def finalize(self, status: str) -> None:
        self.run.finish(exit_code=0 if status == "success" else 1)
