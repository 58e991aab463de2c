"""Ablations: every variant beside the reference, with the settings that it changes.

Variants with an ordinal loss have a row more for the other way to decode a count, and sheets that
compare them with L_count+ and the reference under both. A sheet compares variants with soft targets
with those with hard ones.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from countclip.report import (
    ordinal_counting,
    pages,
    paired_counts,
    scores,
    sheets,
    soft_counting,
    statistics,
)
from countclip.report.ordinal_counting import OTHERS
from countclip.report.paired_counts import MEASURES, difference_cells
from countclip.report.sheets import SIGNED, TWO_DECIMALS, Cell, Sheet, p_value
from countclip.report.table1 import heading

log = logging.getLogger(__name__)

ACCURACY = ("accuracy_end", "accuracy_end_low", "accuracy_end_high")
FROM_TABLE1 = [
    *ACCURACY,
    *("difference_reference", "difference_reference_low", "difference_reference_high"),
    *("p_bootstrap_vs_reference", "p_end_vs_reference", "p_end_vs_reference_holm"),
    *("benchmark", "n", "seeds", "reference", "scale"),
]
COLUMNS = [
    *("variant", "label", "changes", "changed", *FROM_TABLE1),
    *ordinal_counting.COLUMNS,
    *soft_counting.COLUMNS,
]
FORMATS = {
    "accuracy_end": TWO_DECIMALS,
    "accuracy_end_low": TWO_DECIMALS,
    "accuracy_end_high": TWO_DECIMALS,
    "difference_reference": SIGNED,
    "difference_reference_low": TWO_DECIMALS,
    "difference_reference_high": TWO_DECIMALS,
    "p_end_vs_reference_holm": p_value,
}
"""Of each number that the sheet shows."""
THREE_DECIMALS = "{:.3f}".format
TITLES = {"reference": "the reference", "count_plus": "L_count+"}
NOTES = [
    "Argmax: the number of the most similar of nine captions. Expectation: the expected count of a"
    " softmax over their cosines, at the scale of the training; coarse to fine has its head's.",
    "Accuracy and off by one round the expected count; MAE and Spearman's correlation do not.",
    "All values are of the end of training, as means over the seeds.",
]
DIFFERENCE_NOTES = [
    "Both models are decoded alike.",
    *paired_counts.DIFFERENCE_NOTES,
    "The correction, after Holm, is over all ordinal variants, decodings and both comparisons of a"
    " measure.",
]


def changes(settings: dict[str, dict[str, Any]], reference: str) -> dict[str, dict[str, Any]]:
    """For each variant the settings that differ from the reference's."""
    if reference not in settings:
        raise ValueError(
            f"reference: {reference!r} is none of the trained variants: {', '.join(settings)}"
        )
    usual = settings[reference]
    return {
        name: {key: value for key, value in of_variant.items() if value != usual.get(key)}
        for name, of_variant in settings.items()
    }


def ablations(
    table1: pd.DataFrame,
    settings: dict[str, dict[str, Any]],
    reference: str,
    predictions: pd.DataFrame | None = None,
    histories: dict[str, list[str]] | None = None,
) -> pd.DataFrame:
    """One row a variant, with COLUMNS: its changed settings, and its numbers in Table 1.

    `changed` holds `key: value; ...`, `changes` their number. The difference to the reference is
    paired, at the end of training, in percentage points.
    settings: of each variant, all that its training follows from.
    predictions: of `scores.load_predictions`, for what `ordinal_counting.table` adds. Its rows of
    the decoding `expectation` have none of the differences and p values of Table 1.
    histories: of each variant with soft targets, as `soft_counting.table` has them.
    """
    changed = changes(settings, reference)
    rows = table1[table1["variant"].isin(settings)].reset_index(drop=True)
    rows = rows.assign(
        changes=[len(changed[name]) for name in rows["variant"]],
        changed=[_spelt(changed[name]) for name in rows["variant"]],
    )
    if predictions is None:
        return rows.assign(decoding="argmax").reindex(columns=COLUMNS)
    measured = ordinal_counting.table(predictions, settings, reference)
    rows = rows.drop(columns=["mae", "off_by_one"]).merge(measured, on="variant")
    expected = rows["decoding"] == "expectation"
    rows.loc[expected, [name for name in FROM_TABLE1 if name.startswith(("difference", "p_"))]] = (
        np.nan
    )
    for place, row in rows[expected].iterrows():
        low, high = statistics.wilson(row["accuracy"] / 100, row["n"])
        rows.loc[place, list(ACCURACY)] = [row["accuracy"], 100 * low, 100 * high]
    soft = soft_counting.table(predictions, settings, histories or {})
    return rows.merge(soft, on=["variant", "decoding"], how="left")[COLUMNS]


def _spelt(settings: dict[str, Any]) -> str:
    return "; ".join(
        f"{key}: {'none' if value is None else value}" for key, value in settings.items()
    )


def sheet(table: pd.DataFrame, settings: dict[str, dict[str, Any]], reference: str) -> Sheet:
    """Accuracy of each variant and its difference to the reference."""
    table = table[table["decoding"] == "argmax"]
    lines = []
    for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True):
        accuracy, difference = (
            Cell(text[name], f"[{text[f'{name}_low']}, {text[f'{name}_high']}]")
            for name in ("accuracy_end", "difference_reference")
        )
        if row["variant"] == reference:
            cells = [Cell("the reference"), accuracy, Cell("–"), Cell("–")]
        else:
            p = Cell(text["p_end_vs_reference_holm"])
            cells = [Cell(row["changed"] or "nothing"), accuracy, difference, p]
        lines.append([Cell(row["label"]), *cells])
    varied = {key for changed in changes(settings, reference).values() for key in changed}
    usual = {key: settings[reference].get(key) for key in sorted(varied)}
    return Sheet(
        f"Ablations. {heading(table)}",
        ["Configuration", "Settings changed", "Accuracy (%)", "Difference", "p, corrected"],
        lines,
        [
            f"Each variant differs from the reference, “{reference}”, in the settings shown; the"
            f" reference has {_spelt(usual) or 'the same'}.",
            "All values are of the end of training, as means over the seeds. Differences are in"
            " percentage points. Brackets hold 95 % confidence intervals: Wilson's for accuracies,"
            " the paired bootstrap's over images for differences. They are not corrected for"
            " multiple comparisons and do not cover another training.",
            "p: exact McNemar test on the same images (several seeds: twice the median p),"
            " Holm-corrected over all McNemar tests of Table 1.",
        ],
        pages.stamp(table["scale"][0]),
    )


def ordinal_sheets(
    table: pd.DataFrame, settings: dict[str, dict[str, Any]], reference: str
) -> list[Sheet]:
    """The measures under both decodings, and the differences to each of OTHERS; none without an
    ordinal loss."""
    ordinal = [name for name in settings if ordinal_counting.is_ordinal(settings[name])]
    twice = set(table.loc[table["decoding"] == "expectation", "variant"])
    if not twice:
        return []
    labels = dict(zip(table["variant"], table["label"], strict=True))
    shown = table[table["variant"].isin(twice)]
    measures = shown.rename(columns={"accuracy_end": "accuracy"})
    formats = dict.fromkeys(MEASURES, TWO_DECIMALS) | {"spearman": THREE_DECIMALS}
    lines = [
        [Cell(row["label"]), Cell(row["decoding"]), *(Cell(text[name]) for name in MEASURES)]
        for row, text in zip(shown.to_dict("records"), sheets.texts(measures, formats), strict=True)
    ]
    headers = ["Configuration", "Decoding", *MEASURES.values()]
    stamp = pages.stamp(table["scale"][0])
    title = f"n = {table['n'][0]} ({table['benchmark'][0]})"
    made = [Sheet(f"Ordinal losses, both decodings. {title}", headers, lines, NOTES, stamp)]
    compared = shown[shown["variant"].isin(ordinal)]
    names = {
        "reference": f"the reference, “{labels[reference]}”",
        "count_plus": "L_count+, in the variant that differs in the loss alone: "
        + ", ".join(f"“{labels[name]}”" for name in compared["count_plus"].dropna().unique()),
    }
    for other in OTHERS:
        rows = compared[compared[f"mae_minus_{other}"].notna()]
        if rows.empty:
            continue
        lines = [
            [Cell(row.label), Cell(row.decoding), *cells]
            for row, cells in zip(rows.itertuples(), difference_cells(rows, other), strict=True)
        ]
        notes = [f"Each value is a variant's less that of {names[other]}.", *DIFFERENCE_NOTES]
        made.append(
            Sheet(f"Ordinal losses against {TITLES[other]}. {title}", headers, lines, notes, stamp)
        )
    return made


def make_ablations(
    table1_csv: str,
    predictions: Sequence[str] = (),
    *,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    settings: dict[str, dict[str, Any]],
    reference: str,
    rows: dict[int, int] | None = None,
    histories: Sequence[str] = (),
) -> None:
    """Publish the ablations as CSV, JSON and Markdown, from Table 1 as CSV and the predictions.

    rows: of the benchmark, those that Table 1 counts (countbench.rows_of). histories: of trainings
    with soft targets, each in its variant's folder and there in its seed's.
    """
    loaded = scores.load_predictions(list(predictions), rows or {}) if predictions else None
    of_variant: dict[str, list[str]] = {}
    for path in histories:
        of_variant.setdefault(Path(path).parents[1].name, []).append(path)
    table = ablations(scores.read_table1(table1_csv), settings, reference, loaded, of_variant)
    sheets.write_csv(table, csv_path)
    shown = [
        sheet(table, settings, reference),
        *ordinal_sheets(table, settings, reference),
        *soft_counting.sheets_of(table, settings),
    ]
    sheets.write_sheets(shown, json_path, markdown_path)
    log.info("%d variants beside %s", table["variant"].nunique(), reference)
