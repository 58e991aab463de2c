"""How often the detector counts right, by its settings and the rule that counts.

One line for each setting, and each number of objects or `all`. `exact` is the share of images that
the rule accepts with their true number, as it would a pair of the counting set. `wrong` is the
share of other numbers, two to ten, that it accepts too: a caption with one would make a wrong pair.
`mae` is the mean absolute error of the count that the rule compares.
"""

import logging
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from countclip.data.counting_set import match
from countclip.data.detections import class_names
from countclip.data.nouns import Nouns
from countclip.data.number_words import NUMBERS
from countclip.report import sheets, statistics

log = logging.getLogger(__name__)

SETTINGS = ["tiles", "iou", "confidence", "rule"]
COLUMNS = [
    *SETTINGS,
    *("number", "n"),
    *("exact", "exact_low", "exact_high"),
    *("mae", "mae_low", "mae_high"),
    *("wrong", "named", "configured", "scale"),
]


def compared_count(counts: Counter[int], number: int, rule: str, named: set[int]) -> int:
    """The count of objects that a rule compares with a number; 0 where it sees none.

    Of `most_frequent` that of the class with most objects, of `caption_noun` that of a class that
    the caption names, of `any` that of any class; of several the nearest to the number.
    """
    if rule == "most_frequent":
        return max(counts.values(), default=0)
    classes = named if rule == "caption_noun" else counts.keys()
    found = [counts[cls] for cls in classes] or [0]
    return min(found, key=lambda count: (abs(count - number), count))


def judged(found: pd.DataFrame, confidence: float, rule: str, named: list[set[int]]) -> np.ndarray:
    """Exact, absolute error, and share of wrong numbers accepted, of each image: (3, n).

    found: rows of one setting (data/calibration.py). named: the classes that each text names.
    """
    figures = []
    for row, classes in zip(found.itertuples(), named, strict=True):
        kept = [c for c, s in zip(row.class_id, row.score, strict=True) if s >= confidence]
        others = [number for number in NUMBERS if number != row.number]
        figures.append(
            (
                match(kept, row.number, rule, classes) is not None,
                abs(compared_count(Counter(kept), row.number, rule, classes) - row.number),
                np.mean([match(kept, other, rule, classes) is not None for other in others]),
            )
        )
    return np.array(figures, float).T


def calibration(
    found: pd.DataFrame,
    names: dict[int, str],
    nouns_csv: str | None,
    *,
    confidence: list[float],
    rules: list[str],
    configured: dict[str, Any],
    scale: str,
) -> pd.DataFrame:
    """The table with COLUMNS; shares in percent, with Wilson's 95 % intervals.

    Those of `mae` are the bootstrap's over images. names: the detector's classes. nouns_csv: for
    the rule `caption_noun`. configured: the values of SETTINGS in the config, whose lines the
    column of that name marks.
    """
    nouns = Nouns(nouns_csv, names) if nouns_csv and "caption_noun" in rules else None
    tables = []
    for (tiles, iou), rows in found.groupby(["tiles", "iou"], sort=True):
        named = [nouns(text) if nouns else set() for text in rows["text"]]
        is_named = np.array([bool(classes) for classes in named])
        numbers = rows["number"].to_numpy()
        settings = list(product(confidence, rules))
        scores = np.array([judged(rows, *setting, named) for setting in settings])
        for number in ("all", *sorted(set(numbers))):
            chosen = np.ones(len(rows), bool) if number == "all" else numbers == number
            of_number = scores[:, :, chosen]
            errors = statistics.bootstrap(of_number[:, 1])
            for k, (threshold, rule) in enumerate(settings):
                exact, mae, wrong = of_number[k].mean(axis=1)
                low, high = statistics.wilson(exact, int(chosen.sum()))
                mae_low, mae_high = statistics.percentile_interval(errors[:, k])
                line = {"tiles": tiles, "iou": iou, "confidence": threshold, "rule": rule}
                tables.append(line | {
                    "number": number, "n": int(chosen.sum()), "exact": 100 * exact,
                    "exact_low": 100 * low, "exact_high": 100 * high, "mae": mae,
                    "mae_low": mae_low, "mae_high": mae_high, "wrong": 100 * wrong,
                    "named": 100 * is_named[chosen].mean() if nouns else np.nan,
                    "configured": all(line[key] == configured[key] for key in SETTINGS),
                    "scale": scale,
                })  # fmt: skip
    return pd.DataFrame(tables, columns=COLUMNS)


def make_calibration(
    found_parquet: str | Path,
    csv_path: str,
    *,
    nouns_csv: str | None,
    confidence: list[float],
    rules: list[str],
    configured: dict[str, Any],
    scale: str,
) -> None:
    """Publish the table as CSV, and log the best of each rule. The others as in `calibration`."""
    names = class_names(found_parquet)
    table = calibration(
        pd.read_parquet(found_parquet), names, nouns_csv, confidence=confidence, rules=rules,
        configured=configured, scale=scale,
    )  # fmt: skip
    sheets.write_csv(table, csv_path)
    best = table[table["number"] == "all"].sort_values("exact", ascending=False, kind="stable")
    shown = pd.concat([best.groupby("rule", sort=False).head(2), best[best["configured"]]])
    columns = [*SETTINGS, "n", "exact", "exact_low", "exact_high", "mae", "wrong", "configured"]
    log.info("the best of each rule, and the config's:\n%s", shown[columns].to_string(index=False))
