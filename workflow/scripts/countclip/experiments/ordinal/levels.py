"""Studies and their levels: few images of each label, rare or unseen labels, more and more bins."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from countclip.experiments.ordinal import protocols
from countclip.experiments.ordinal.task import bins_of_equal_width


class Level(NamedTuple):
    """One level of a study.

    text: as tables show it. part: harder fold of a fold and a draw. task: with the level's bins.
    seen: lowest and highest label of the training part, where the test part has others.
    """

    text: str
    part: Callable[[pd.DataFrame, int], pd.DataFrame]
    task: dict[str, Any]
    seen: tuple[float, float] | None = None


def few_shot(shots: int, task: dict[str, Any]) -> Level:
    return Level(str(shots), lambda fold, draw: protocols.few_shot(fold, shots, draw), task)


def shift(setting: dict[str, Any], task: dict[str, Any]) -> Level:
    labels, share = setting["labels"], setting["share"]
    return Level(
        f"{labels} labels, {100 * (1 - share):g} % removed",
        lambda fold, draw: protocols.shifted(fold, labels, share, draw),
        task,
    )


def outside(values: list[float], task: dict[str, Any]) -> Level:
    lowest, highest = values
    return Level(
        f"{lowest} to {highest}",
        lambda fold, draw: protocols.within(fold, lowest, highest),
        task,
        (lowest, highest),
    )


def growing(count: int, task: dict[str, Any]) -> Level:
    return Level(str(count), lambda fold, draw: fold, task | bins_of_equal_width(task, count))


@dataclass(frozen=True)
class Study:
    """A study.

    levels: what its levels are. level: one, of a setting of the config and a task. ordered: whether
        they are more and more of one thing.
    """

    title: str
    levels: str
    level: Callable[[Any, dict[str, Any]], Level]
    ordered: bool


STUDIES = {
    "few_shot": Study("Few images of each label", "Images of a label", few_shot, True),
    "shift": Study("Frequent labels made rare", "Most frequent labels", shift, False),
    "outside": Study("Labels outside the training range", "Trained on labels", outside, False),
    "growing": Study("A growing number of bins", "Bins", growing, True),
}
