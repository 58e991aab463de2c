"""Published accuracies of answers read by CLIP, as counts of questions, with what they can tell.

The publication states neither a unit nor a number of questions. As shares of one number of
questions, its five accuracies fit one number only: 4,978, of the 5,000 in the validation split.
They are no soft accuracies of 5,000 questions, which have three decimals, the last one even.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from countclip.report import sheets, statistics
from countclip.report.sheets import COUNT, TWO_DECIMALS, Cell, Sheet, p_value
from countclip.report.statistics import LEVEL

log = logging.getLogger(__name__)

NUMBERS = range(4_900, 5_001)
"""Numbers of questions that are tried: the validation split, and up to a hundred missing."""
OTHERS = {"zero_shot": "CLIP", "naive": "naive training", "hard_image": "mining of images"}
"""What each row is compared with."""
FORMATS = {
    **{f"accuracy{of}": TWO_DECIMALS for of in ("", "_low", "_high")},
    **dict.fromkeys(("correct", "n"), COUNT),
    **{f"p_{role}_holm": p_value for role in OTHERS},
}
"""Of each number that the sheet shows."""


def read(published_csv: str | Path) -> pd.DataFrame:
    """Published accuracies in percent, as printed: method, label, measure, accuracy, source."""
    return sheets.read_csv(published_csv, accuracy=str)


def numbers_of_questions(printed: Sequence[str], numbers: Iterable[int] = NUMBERS) -> list[int]:
    """The numbers of questions of which every printed percentage is a whole share, rounded."""
    return [n for n in numbers if all(_count(text, n) is not None for text in printed)]


def _count(printed: str, n: int) -> int | None:
    """The number of n questions whose percentage is printed so; None if there is none."""
    count = round(float(printed) * n / 100)
    decimals = len(printed.partition(".")[2])
    return count if f"{100 * count / n:.{decimals}f}" == printed else None


def table(published_csv: str | Path) -> pd.DataFrame:
    """One row for each exact match: printed, correct, n, and accuracy with Wilson's interval (%).

    p_<role>: Fisher's exact test against the row of OTHERS, since nobody knows which questions two
    rows both have right; `_holm`: corrected over all of these. ValueError where not exactly one
    number of questions fits.
    """
    rows = read(published_csv)
    rows = rows[rows["measure"] == "exact"].reset_index(drop=True)
    numbers = numbers_of_questions(list(rows["accuracy"]))
    if len(numbers) != 1:
        fit = ", ".join(map(str, numbers)) or "none"
        raise ValueError(
            f"{published_csv}: of {NUMBERS[0]:,} to {NUMBERS[-1]:,} questions, {fit} fit all exact"
            " matches; exactly one must: correct the column accuracy"
        )
    n = numbers[0]
    correct = [_count(text, n) for text in rows["accuracy"]]
    matrices = {
        name: np.array([[count, n - count], [0, 0]])
        for name, count in zip(rows["method"], correct, strict=True)
    }
    bounds = np.array([statistics.wilson(count / n, n) for count in correct])
    result = pd.DataFrame(
        {
            "method": rows["method"],
            "label": rows["label"],
            "printed": rows["accuracy"],
            "correct": correct,
            "n": n,
            "accuracy": 100 * np.array(correct) / n,
            "accuracy_low": 100 * bounds[:, 0],
            "accuracy_high": 100 * bounds[:, 1],
        }
    )
    tests = {
        (name, role): statistics.unpaired(matrices[name], matrices[role])
        for place, name in enumerate(matrices)
        for role in OTHERS
        if name != role and not (name in OTHERS and [*matrices].index(role) < place)
    }  # each pair once
    corrected = statistics.holm(np.array([*tests.values()]))
    for end, values in (("", tests.values()), ("_holm", corrected)):
        of_pair = dict(zip(map(frozenset, tests), values, strict=True))
        for role in OTHERS:
            result[f"p_{role}{end}"] = [
                of_pair.get(frozenset((name, role)), np.nan) for name in matrices
            ]
    return result


def sheet(table: pd.DataFrame) -> Sheet:
    """Counts, accuracies and comparisons; the rest is in the CSV."""
    headers = ["Model", "Printed", "Correct", "Exact match (%)"]
    headers += [f"p against {title}" for title in OTHERS.values()]
    lines = [
        [
            Cell(row["label"]),
            Cell(row["printed"]),
            Cell(text["correct"]),
            Cell(text["accuracy"], f"[{text['accuracy_low']}, {text['accuracy_high']}]"),
            *(Cell(text[f"p_{role}_holm"] or "–") for role in OTHERS),
        ]
        for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True)
    ]
    n = int(table["n"][0])
    return Sheet(
        f"Can CLIP Read?, as published, n = {n:,}",
        headers,
        lines,
        [
            f"Inferred: no number of questions is published. Of {NUMBERS[0]:,} to"
            f" {NUMBERS[-1]:,}, {n:,} is the only one of which all accuracies are whole shares, so"
            " they are taken for exact matches. The validation split has 5,000 questions.",
            "Brackets hold 95 % confidence intervals (Wilson).",
            "p: Fisher's exact test, unpaired, since nobody knows which questions two models both"
            f" have right; Holm-corrected over this table. Significant below {LEVEL}.",
            "For comparison, always answering “yes” has a soft accuracy of 4.48 %, and a random one"
            " of the 100 most frequent answers 0.22 % (Singh et al. 2019).",
        ],
    )


def make_published(
    published_csv: str | Path, *, csv_path: str, json_path: str, markdown_path: str
) -> None:
    """Publish the published accuracies and what they can tell as CSV, JSON and Markdown."""
    results = table(published_csv)
    sheets.write_csv(results, csv_path)
    sheets.write_sheets([sheet(results)], json_path, markdown_path)
    log.info("%s: %s of %d", csv_path, list(results["correct"]), results["n"][0])
