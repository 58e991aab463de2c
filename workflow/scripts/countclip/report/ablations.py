"""Ablations: every variant beside the reference, with the settings that it changes."""

import logging
from typing import Any

import pandas as pd

from countclip.report import pages, scores, sheets
from countclip.report.sheets import SIGNED, TWO_DECIMALS, Cell, Sheet, p_value
from countclip.report.table1 import heading

log = logging.getLogger(__name__)

FROM_TABLE1 = [
    *("accuracy_end", "accuracy_end_low", "accuracy_end_high"),
    *("difference_reference", "difference_reference_low", "difference_reference_high"),
    *("p_bootstrap_vs_reference", "p_end_vs_reference", "p_end_vs_reference_holm"),
    *("benchmark", "n", "seeds", "reference", "scale"),
]
COLUMNS = ["variant", "label", "changes", "changed", *FROM_TABLE1]
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
    table1: pd.DataFrame, settings: dict[str, dict[str, Any]], reference: str
) -> pd.DataFrame:
    """One row a variant, with COLUMNS: its changed settings, and its numbers in Table 1.

    `changed` holds `key: value; ...`, `changes` their number. The difference to the reference is
    paired, at the end of training, in percentage points.
    settings: of each variant, all that its training follows from.
    """
    changed = changes(settings, reference)
    rows = table1[table1["variant"].isin(settings)].reset_index(drop=True)
    return rows.assign(
        changes=[len(changed[name]) for name in rows["variant"]],
        changed=[_spelt(changed[name]) for name in rows["variant"]],
    )[COLUMNS]


def _spelt(settings: dict[str, Any]) -> str:
    return "; ".join(
        f"{key}: {'none' if value is None else value}" for key, value in settings.items()
    )


def sheet(table: pd.DataFrame, settings: dict[str, dict[str, Any]], reference: str) -> Sheet:
    """Accuracy of each variant and its difference to the reference."""
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


def make_ablations(
    table1_csv: str,
    *,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    settings: dict[str, dict[str, Any]],
    reference: str,
) -> None:
    """Publish the ablations as CSV, JSON and Markdown, from Table 1 as CSV."""
    table = ablations(scores.read_table1(table1_csv), settings, reference)
    sheets.write_csv(table, csv_path)
    sheets.write_sheets([sheet(table, settings, reference)], json_path, markdown_path)
    log.info("%d variants beside %s", len(table), reference)
