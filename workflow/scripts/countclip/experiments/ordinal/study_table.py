"""Tables and figures of studies: mean and interval over the draws of each level and method."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from countclip.experiments.ordinal import metrics
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.levels import STUDIES, Level
from countclip.experiments.ordinal.scores import MEASURES, PERCENT, RANGES, decoded
from countclip.report import pages, sheets, statistics
from countclip.report.plotting import INK, LINES, MARKERS, drawing
from countclip.report.sheets import SIGNED, TWO_DECIMALS, Cell, Sheet

log = logging.getLogger(__name__)

SHOWN = ("mae", "macro_mae", "accuracy", "off_by_one", "spearman")
"""Measures of the tables; the figure shows the first."""
REFERENCE = "coarse_ce"
"""Method to which the others' MAE is compared, in each draw and under the same decoding."""
COLUMNS = [
    *("study", "level", "labels", "method", "label", "decoding", "draws", "n_train", "n_test"),
    *(f"{name}{of}" for name in SHOWN for of in ("", "_low", "_high")),
    *(f"difference{of}" for of in ("", "_low", "_high")),
    "scale",
]
FORMATS = {
    **{f"{name}{of}": TWO_DECIMALS for name in SHOWN for of in ("", "_low", "_high")},
    "difference": SIGNED,
    "difference_low": TWO_DECIMALS,
    "difference_high": TWO_DECIMALS,
    "n_train": "{:.0f}".format,
    "n_test": "{:.0f}".format,
}


def make_study_table(
    predictions: str,
    study: str,
    *,
    levels: list[Any],
    task: dict[str, Any],
    labels: dict[str, str],
    csv_path: str,
    json_path: str,
    markdown_path: str,
    scale: str,
) -> None:
    """Publish the table of a study as CSV, JSON and Markdown.

    predictions: of `studies.run`. labels: method -> label, in the order of the rows.
    """
    of_study = [STUDIES[study].level(setting, task) for setting in levels]
    table = study_table(pd.read_parquet(predictions), study, of_study, labels, scale)
    sheets.write_csv(table, csv_path)
    sheets.write_sheets([study_sheet(table, study, task["shows"])], json_path, markdown_path)
    log.info("%s", table[["level", "labels", "method", "decoding", "mae"]].to_string(index=False))


def study_table(
    predictions: pd.DataFrame,
    study: str,
    levels: list[Level],
    labels: dict[str, str],
    scale: str,
) -> pd.DataFrame:
    """One row a level, method and decoding, with COLUMNS; shares in percent.

    labels (column): `all`; where a level trains on some labels alone, also `seen` and `unseen`.
    difference: MAE minus that of REFERENCE, mean over the draws of both.
    """
    rows = []
    for level in levels:
        bins = Bins.of_task(level.task)
        of_level = predictions[predictions["level"] == level.text]
        answers = pd.concat(
            [
                decoded(drawn.assign(fold="1", seed=0), labels, bins).assign(draw=draw)
                for draw, drawn in of_level.groupby("draw")
            ]
        )
        for subset, of_subset in _subsets(answers, level):
            rows += [
                {"study": study, "level": level.text, "labels": subset, "scale": scale} | row
                for row in _rows(of_subset, labels, len(bins))
            ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _subsets(answers: pd.DataFrame, level: Level) -> list[tuple[str, pd.DataFrame]]:
    if level.seen is None:
        return [("all", answers)]
    is_seen = answers["label"].between(*level.seen)
    return [("all", answers), ("seen", answers[is_seen]), ("unseen", answers[~is_seen])]


def _rows(answers: pd.DataFrame, labels: dict[str, str], count: int) -> list[dict[str, Any]]:
    """Mean and interval of each method and decoding over the draws."""
    measured = pd.DataFrame(
        [
            {"method": method, "decoding": decoding, "draw": draw}
            | _measures(drawn, count)
            | {"n_train": drawn["n_train"].iloc[0], "n_test": len(drawn)}
            for (method, decoding, draw), drawn in answers.groupby(
                ["method", "decoding", "draw"], sort=False
            )
        ]
    )
    rows = []
    for (method, decoding), drawn in measured.groupby(["method", "decoding"], sort=False):
        row = {"method": method, "label": labels[method], "decoding": decoding, "draws": len(drawn)}
        row |= {"n_train": drawn["n_train"].mean(), "n_test": drawn["n_test"].mean()}
        for name in SHOWN:
            row |= _interval(name, drawn[name] * (100 if name in PERCENT else 1), RANGES[name])
        reference = measured[
            (measured["method"] == REFERENCE) & (measured["decoding"] == decoding)
        ].set_index("draw")
        if method != REFERENCE and len(reference):
            gains = drawn.set_index("draw")["mae"] - reference["mae"]
            row |= _interval("difference", gains)
        rows.append(row)
    return rows


def _measures(rows: pd.DataFrame, count: int) -> dict[str, float]:
    columns = (rows[name].to_numpy() for name in ("label", "value", "bin", "predicted"))
    found = metrics.measures(*columns, count)
    return {name: found[name] for name in SHOWN}


def _interval(
    name: str, values: pd.Series, limits: tuple[float, float] = (-np.inf, np.inf)
) -> dict[str, float]:
    low, high = np.clip(statistics.interval_of_mean(values), *limits)
    return {name: values.mean(skipna=False), f"{name}_low": low, f"{name}_high": high}


def study_sheet(table: pd.DataFrame, study: str, shows: str) -> Sheet:
    """The table as readers see it; the lowest MAE of a level is marked."""
    about, subsets = STUDIES[study], table["labels"].nunique() > 1
    lowest = table.groupby(["level", "labels"])["mae"].transform("min")
    lines = []
    texts = sheets.texts(table, FORMATS)
    for row, text, best in zip(table.to_dict("records"), texts, lowest, strict=True):
        cells = [Cell(row["level"]), *([Cell(row["labels"])] if subsets else [])]
        cells += [Cell(row["label"]), Cell(row["decoding"]), Cell(text["n_train"])]
        for name in (*SHOWN, "difference"):
            low, high = text[f"{name}_low"], text[f"{name}_high"]
            is_best = bool(name == "mae" and row["mae"] == best)
            cells.append(Cell(text[name] or "–", f"[{low}, {high}]" if low else "", is_best))
        lines.append(cells)
    headers = [about.levels, *(["Test labels"] if subsets else []), "Method", "Decoding"]
    headers += ["Training images", *(MEASURES[name] for name in SHOWN), "MAE to coarse CE"]
    stamp = pages.stamp(table["scale"].iloc[0])
    title = f"{about.title}: {shows}, {table['draws'].iloc[0]} draws"
    notes = [
        "Each value is the mean over the draws, with Student's 95 % interval over them. Draw d is"
        " of fold d, again from the first after the last, and trains with the seed d.",
        "MAE to coarse CE: difference to its MAE in the same draw, under the same decoding;"
        " negative is better.",
        "▲ marks the lowest MAE of a level.",
    ]
    return Sheet(title, headers, lines, notes, stamp)


def plot_study(table_csv: str, study: str, *, svg: str, png: str, scale: str) -> None:
    """Draw the MAE of each method's expectation by level, a panel for each subset of labels.

    Bars are intervals over the draws.
    """
    table = sheets.read_csv(table_csv, level=str)
    table = table[table["decoding"] == "expectation"]
    levels = list(dict.fromkeys(table["level"]))
    subsets = list(dict.fromkeys(table["labels"]))
    about = STUDIES[study]
    with drawing(svg, png, scale, 4.6 * len(subsets) + 1, 4.4, about.title) as figure:
        grid = figure.subplots(1, len(subsets), sharey=True, squeeze=False)
        for axes, subset in zip(grid.flat, subsets, strict=True):
            rows = table[table["labels"] == subset]
            for number, (_, line) in enumerate(rows.groupby("method", sort=False)):
                x = np.array([levels.index(level) for level in line["level"]], float)
                bars = [line["mae"] - line["mae_low"], line["mae_high"] - line["mae"]]
                style = (number + number // 4) % 4
                axes.errorbar(
                    x + 0.04 * number, line["mae"], np.array(bars), capsize=2, markersize=4,
                    color=INK[number % 4], linestyle=LINES[style] if about.ordered else "none",
                    marker=MARKERS[style], label=line["label"].iloc[0],
                )  # fmt: skip
            axes.set_xticks(range(len(levels)), levels)
            axes.set_xlim(-0.5, len(levels) - 0.3)
            axes.set_xlabel(about.levels)
            if len(subsets) > 1:
                axes.set_title(f"test labels: {subset}", loc="left")
        grid[0, 0].set_ylim(bottom=0)
        grid[0, 0].set_ylabel("MAE (expectation)")
        grid[0, 0].legend(loc="lower left", ncols=2)  # the axis begins at 0, so there is room
