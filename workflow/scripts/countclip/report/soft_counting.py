"""Soft targets of CLIP's loss on counting: each variant beside the one with hard targets.

All is of the end of training. A measure is the mean over the seeds.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from countclip.report import pages, paired_counts, sheets
from countclip.report.paired_counts import MEASURES, Measured
from countclip.report.sheets import TWO_DECIMALS, Cell, Sheet
from countclip.settings.soft_targets import TARGET_KEYS, is_soft

ROLES = ("hard",)
SOFTNESS = {"target_partners": "Partners a row", "target_diagonal": "Mass on the true pair"}
"""Columns of a training's history that say how soft its targets were, and their headers."""
HARD = {"target_partners": "0.00", "target_diagonal": "1.00"}
"""What they are of hard targets, of which no history has them."""
COLUMNS = ["hard", *SOFTNESS, *paired_counts.columns(ROLES)]
NOTES = [
    "Each difference is a variant's less that of the variant with hard targets above it, which is"
    " otherwise alike. All values are of the end of training, as means over the seeds.",
    "Partners a row: other pairs of the batch that have a share of the target. They and the mass on"
    " the true pair are means over all batches of the trainings. A hard target has no partners.",
    *paired_counts.DIFFERENCE_NOTES,
    "The correction, after Holm, is over all variants with soft targets, for each measure.",
]

Settings = dict[str, dict[str, Any]]
"""Of each variant, all that its training follows from."""


def hard_of(variant: str, settings: Settings) -> str | None:
    """The variant with hard targets that is otherwise as `variant`; None where there is none."""

    def rest(name: str) -> dict[str, Any]:
        return {key: value for key, value in settings[name].items() if key not in TARGET_KEYS}

    return next(
        (name for name in settings
         if not is_soft(settings[name]) and rest(name) == rest(variant)),
        None,
    )  # fmt: skip


def table(
    predictions: pd.DataFrame, settings: Settings, histories: dict[str, Sequence[str]]
) -> pd.DataFrame:
    """One row for each variant with soft targets: variant, decoding, and COLUMNS.

    predictions: of `scores.load_predictions`. histories: variant -> the CSV of each training.
    Differences to the variant `hard` are those of `paired_counts.compared`.
    """
    hard = {name: hard_of(name, settings) for name in settings if is_soft(settings[name])}
    pairs = {(name, ROLES[0]): other for name, other in hard.items() if other}
    ends = dict(tuple(predictions[predictions["checkpoint"] == "end"].groupby("variant")))
    measured = {
        name: Measured.of_rows(ends[name], ends[name]["prediction"].to_numpy(float))
        for name in dict.fromkeys([*(name for name, _ in pairs), *pairs.values()])
    }
    differences = paired_counts.compared(measured, pairs)
    rows = [
        {"variant": name, "decoding": "argmax", "hard": other}
        | softness(histories.get(name, ()))
        | differences.get(name, {})
        for name, other in hard.items()
    ]
    made = pd.DataFrame(rows, columns=["variant", "decoding", *COLUMNS])
    return paired_counts.with_holm(made, ROLES)


def softness(histories: Sequence[str]) -> dict[str, float]:
    """SOFTNESS of trainings: means over their steps, and then over the seeds.

    A row of a history holds the means over the steps since the last one.
    """
    means = []
    for path in histories:
        history = pd.read_csv(path)
        steps = history["step"].diff()
        columns = history[list(SOFTNESS)]
        means.append(columns.mul(steps, axis=0).sum() / steps.sum())
    return dict(pd.concat(means, axis=1).mean(axis=1)) if means else {}


def sheets_of(table: pd.DataFrame, settings: Settings) -> list[Sheet]:
    """The variants with soft targets, each group below the hard one; none without such a variant.

    table: of `ablations.ablations`.
    """
    rows = table[table["decoding"] == "argmax"].set_index("variant", drop=False)
    soft = [name for name in rows["variant"] if is_soft(settings[name])]
    if not soft:
        return []
    hard = rows.loc[soft, "hard"].dropna()
    groups = {name: list(hard.index[hard == name]) for name in dict.fromkeys(hard)}
    groups |= {name: [] for name in soft if name not in hard.index}
    shown = rows.loc[[name for group, below in groups.items() for name in (group, *below)]]
    differences = dict(
        zip(hard.index, paired_counts.difference_cells(rows.loc[hard.index], ROLES[0]), strict=True)
    )
    formats = dict.fromkeys(("accuracy_end", *SOFTNESS), TWO_DECIMALS)
    lines = [
        [
            Cell(row["label"]),
            *(Cell(text[name] or HARD[name]) for name in SOFTNESS),
            Cell(text["accuracy_end"]),
            *differences.get(row["variant"], [Cell("–")] * len(MEASURES)),
        ]
        for row, text in zip(shown.to_dict("records"), sheets.texts(shown, formats), strict=True)
    ]
    changes = [f"{header}, difference" for header in MEASURES.values()]
    sheet = Sheet(
        f"Soft targets on counting. n = {rows['n'].iloc[0]} ({rows['benchmark'].iloc[0]})",
        ["Configuration", *SOFTNESS.values(), MEASURES["accuracy"], *changes],
        lines,
        NOTES,
        pages.stamp(rows["scale"].iloc[0]),
    )
    return [sheet]
