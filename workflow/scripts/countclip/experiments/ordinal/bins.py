"""The bins of a range of values: where each begins and ends, and the word that names it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from countclip.experiments.ordinal.task import check_bins


@dataclass(frozen=True)
class Bins:
    """K bins in rising order. Bin k holds the labels from `starts[k]` to below `starts[k + 1]`.

    words: name of each bin in a prompt. ends: last value of each bin, so that whole years 13 to 18
        have 13 and 18, and the midpoint 15.5.
    """

    words: tuple[str, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def of_task(cls, task: dict[str, Any]) -> "Bins":
        """The `bins` (word, from, to) of a task; ValueError where they do not tile its `values`."""
        check_bins(task)
        words = tuple(one["word"] for one in task["bins"])
        starts, ends = (tuple(float(one[key]) for one in task["bins"]) for key in ("from", "to"))
        return cls(words, starts, ends)

    @classmethod
    def numbers(cls, lowest: int, highest: int) -> "Bins":
        """One bin for each whole number, which is its word."""
        numbers = range(lowest, highest + 1)
        return cls(tuple(map(str, numbers)), tuple(map(float, numbers)), tuple(map(float, numbers)))

    @property
    def midpoints(self) -> tuple[float, ...]:
        return tuple((a + b) / 2 for a, b in zip(self.starts, self.ends, strict=True))

    @property
    def half_widths(self) -> tuple[float, ...]:
        """How far each bin reaches from its midpoint: half its width, at least half a unit.

        So the bin of a single number reaches halfway to its neighbours.
        """
        return tuple(max((b - a) / 2, 0.5) for a, b in zip(self.starts, self.ends, strict=True))

    def of(self, values: Iterable[float]) -> np.ndarray:
        """Index of each value's bin, int64 (n,); values outside the range count to the next bin."""
        places = np.searchsorted(self.starts, np.asarray(values, dtype=float), side="right") - 1
        return places.clip(0, len(self) - 1).astype(np.int64)

    def nearest(self, values: Iterable[float]) -> np.ndarray:
        """Index of the bin nearest to each predicted value, int64 (n,).

        Cuts lie halfway between the end of a bin and the start of the next, so that of the bins 3
        and 4 a prediction of 3.99 is in the latter; one on a cut belongs to the upper bin.
        """
        cuts = [(a + b) / 2 for a, b in zip(self.ends[:-1], self.starts[1:], strict=True)]
        return np.searchsorted(cuts, np.asarray(values, dtype=float), side="right").astype(np.int64)
