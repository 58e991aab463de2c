"""The task of an ordinal set as the config has it: values, and bins that tile them."""

from collections import Counter
from typing import Any


def check_bins(task: dict[str, Any]) -> None:
    """Raise ValueError where the `bins` (word, from, to) of a task do not tile its `values`."""
    lowest, highest = task["values"]
    bins, expected = task["bins"], lowest
    for one in bins:
        if one["from"] != expected or one["to"] < one["from"]:
            raise ValueError(
                f"bin {one['word']!r} is {one['from']} to {one['to']}: the bins must cover"
                f" {lowest} to {highest} without gap or overlap, so it must begin at {expected}"
                " and end no earlier"
            )
        expected = one["to"] + 1
    if len(bins) < 2 or expected != highest + 1:
        raise ValueError(
            f"{len(bins)} bins end at {expected - 1}: at least two must cover {lowest} to"
            f" {highest}, so the last must end at {highest}"
        )
    if twice := [word for word, n in Counter(one["word"] for one in bins).items() if n > 1]:
        raise ValueError(f"two bins have the word {twice[0]!r}: give each another")


def bins_of_equal_width(task: dict[str, Any], count: int) -> dict[str, Any]:
    """The range of a task in `count` bins of about equal width, named by their numbers: the task's
    `bins` and `prompt`, which is its `number_prompt`. ValueError for a count that does not fit."""
    lowest, highest = task["values"]
    numbers = highest - lowest + 1
    if not 2 <= count <= numbers:
        raise ValueError(
            f"{count} bins of {lowest} to {highest}: at least 2, and at most one a number"
        )
    starts = [lowest + round(i * numbers / count) for i in range(count + 1)]
    ranges = [(first, last - 1) for first, last in zip(starts[:-1], starts[1:], strict=True)]
    return {
        "bins": [
            {"word": f"{a}" if a == b else f"{a} to {b}", "from": a, "to": b} for a, b in ranges
        ],
        "prompt": task["number_prompt"].replace("{number}", "{word}"),
    }
