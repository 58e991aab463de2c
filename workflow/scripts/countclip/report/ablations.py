"""What does each setting change? Every variant beside the reference, which differs in few."""

import logging
from typing import Any

import pandas as pd

from countclip.report import pages
from countclip.report.sheets import Cell, Sheet, markdown, texts, write_csv
from countclip.report.table1 import heading
from countclip.runtime.files import write_text

log = logging.getLogger(__name__)


def changes(settings: dict[str, dict[str, Any]], reference: str) -> dict[str, dict[str, Any]]:
    """For each variant the settings that are not the reference's, with its own values."""
    if reference not in settings:
        raise ValueError(
            f"reference: {reference!r} is none of the trained variants: {', '.join(settings)}"
        )
    usual = settings[reference]
    return {
        name: {key: value for key, value in own.items() if value != usual.get(key)}
        for name, own in settings.items()
    }


def ablations(
    table1: pd.DataFrame, settings: dict[str, dict[str, Any]], reference: str
) -> pd.DataFrame:
    """One row a variant: `changed` settings as `key: value; ...`, how many, and from Table 1 the
    accuracy at the end of training and its paired difference to the reference in percentage points.

    settings: of each variant, all that its training follows from.
    """
    changed = changes(settings, reference)
    rows = table1[table1["variant"].isin(settings)]
    kept = [
        *("accuracy_end", "accuracy_end_low", "accuracy_end_high"),
        *("difference_reference", "difference_reference_low", "difference_reference_high"),
        *("p_bootstrap_vs_reference", "p_end_vs_reference", "p_end_vs_reference_holm"),
        *("benchmark", "n", "seeds", "reference", "scale"),
    ]
    found = rows[["variant", "label"]].copy()
    found["changes"] = [len(changed[name]) for name in rows["variant"]]
    found["changed"] = [_spelt(changed[name]) for name in rows["variant"]]
    return pd.concat([found, rows[kept]], axis=1).reset_index(drop=True)


def _spelt(settings: dict[str, Any]) -> str:
    return "; ".join(
        f"{key}: {'none' if value is None else value}" for key, value in settings.items()
    )


def sheet(table: pd.DataFrame, settings: dict[str, dict[str, Any]], reference: str) -> Sheet:
    cells = []
    for row, text in zip(table.to_dict("records"), texts(table).to_dict("records"), strict=True):
        own = row["variant"] == reference
        interval = f"[{text['difference_reference_low']}, {text['difference_reference_high']}]"
        cells.append(
            [
                Cell(row["label"]),
                Cell("the reference" if own else row["changed"] or "nothing"),
                Cell(
                    text["accuracy_end"],
                    f"[{text['accuracy_end_low']}, {text['accuracy_end_high']}]",
                ),
                *(
                    [Cell("–"), Cell("–")]
                    if own
                    else [
                        Cell(f"{row['difference_reference']:+.2f}", interval),
                        Cell(text["p_end_vs_reference_holm"]),
                    ]
                ),
            ]
        )
    touched = {key for own in changes(settings, reference).values() for key in own}
    usual = {key: settings[reference].get(key) for key in sorted(touched)}
    headers = ["Configuration", "Settings changed", "Accuracy (%)", "Difference", "p, corrected"]
    return Sheet(
        f"Ablations. {heading(table)}",
        headers,
        cells,
        [
            f"Each variant differs from the reference, “{reference}”, in the settings named; there"
            f" they are {_spelt(usual) or 'the same'}.",
            "All at the end of training, mean over the seeds. Differences are in percentage points;"
            " brackets hold 95 % intervals, Wilson's of accuracies, and the paired bootstrap's over"
            " images of differences. Each stands for itself, and says nothing of another training.",
            "p: exact McNemar test on the same images (several seeds: twice the median), corrected"
            " after Holm over all tests of Table 1.",
        ],
        pages.stamp(table["scale"][0]),
    )


def make_ablations(
    table1: str,
    csv: str,
    markdown_file: str,
    *,
    settings: dict[str, dict[str, Any]],
    reference: str,
) -> None:
    """Publish the ablations as CSV and Markdown, from Table 1 as CSV."""
    known = pd.read_csv(table1, dtype={"seeds": str}, keep_default_na=False, na_values=[""])
    table = ablations(known, settings, reference)
    write_csv(table, csv)
    write_text(markdown(sheet(table, settings, reference)), markdown_file)
    log.info("%d variants beside %s", len(table), reference)
