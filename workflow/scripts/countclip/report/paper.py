"""Statistics of the paper's results, from the confusion matrices in its vector figures.

All of its Table 1 follows from these matrices. They do not say which images two models both have
right, so McNemar's test has bounds instead of a value: the smallest and the largest p that the two
matrices allow (statistics.mcnemar_bounds). Both are Holm-corrected over all comparisons of the
table. Holm's correction grows with each p value, so the corrected p of the unknown images would lie
between the corrected bounds.
"""

import json
import logging

import numpy as np
import pandas as pd

from countclip.data.number_words import NUMBERS
from countclip.report import sheets, statistics
from countclip.report.sheets import TWO_DECIMALS, Cell, Sheet, p_value
from countclip.report.statistics import LEVEL

log = logging.getLogger(__name__)

CHECKPOINTS = {"end": "end of training", "best": "best on the benchmark"}
OTHERS = {"baseline": "baseline", "base": "lambda1_sched"}
"""What each variant is compared with: the pretrained baseline, and the paper's base model."""
TITLES = {"baseline": "baseline", "base": "base model"}
"""OTHERS as headers call them."""
FORMATS = {
    **dict.fromkeys(["accuracy", "accuracy_low", "accuracy_high"], TWO_DECIMALS),
    **dict.fromkeys(["macro_f1", "mae"], TWO_DECIMALS),
    **{f"images_{role}": "{:+d}".format for role in OTHERS},
    **{f"p_mcnemar_{bound}_{role}_holm": p_value for role in OTHERS for bound in ("min", "max")},
}
"""Of each number that the sheet shows."""


def table(matrices_json: str) -> pd.DataFrame:
    """One row a variant and checkpoint, shares in percent, differences in percentage points.

    matrices_json: `variants`: id -> label, `best` and, but for the baseline, `end`: counts (9, 9),
        rows the true number. The baseline's one state is compared with both checkpoints.

    `weight_<other>` says whether a difference is significant: `yes` if McNemar's test finds it so
    (corrected p below LEVEL) whichever images both models have right, `no` if it never does, and
    `open` if that depends on these images.
    """
    with open(matrices_json, encoding="utf-8") as file:
        variants = json.load(file)["variants"]
    rows = [
        _row(variants, name, checkpoint)
        for name, variant in variants.items()
        for checkpoint in CHECKPOINTS
        if checkpoint in variant
    ]
    table = pd.DataFrame(rows).astype({f"images_{role}": "Int64" for role in OTHERS})
    for kind in ("p_unpaired", "p_mcnemar_min", "p_mcnemar_max"):
        columns = [f"{kind}_{role}" for role in OTHERS]
        corrected = statistics.holm(table[columns].to_numpy().ravel()).reshape(-1, len(columns))
        table[[f"{column}_holm" for column in columns]] = corrected
    for role in OTHERS:
        least, most = (table[f"p_mcnemar_{bound}_{role}_holm"] for bound in ("min", "max"))
        table[f"weight_{role}"] = np.select(
            [most < LEVEL, least >= LEVEL, least < LEVEL], ["yes", "no", "open"], ""
        )
    return table


def _row(variants: dict[str, dict], name: str, checkpoint: str) -> dict[str, float | str]:
    """Numbers of one matrix, by itself and beside the others'."""
    counts = np.array(variants[name][checkpoint])
    n, share = int(counts.sum()), statistics.accuracy(counts)
    low, high = statistics.wilson(share, n)
    row = {
        "variant": name,
        "label": variants[name]["label"],
        "checkpoint": checkpoint,
        "n": n,
        "right": int(np.trace(counts)),
        "accuracy": 100 * share,
        "accuracy_low": 100 * low,
        "accuracy_high": 100 * high,
        "macro_f1": 100 * statistics.macro_f1(counts),
        "mae": statistics.mae(counts, NUMBERS),
        "off_by_one": 100 * statistics.off_by_one(counts, NUMBERS),
    }
    for role, other in OTHERS.items():
        if name not in ("baseline", other):
            states = variants[other]
            row |= _compared(counts, np.array(states.get(checkpoint, states["best"])), role)
    return row


def _compared(counts: np.ndarray, other: np.ndarray, role: str) -> dict[str, float]:
    least, most = statistics.mcnemar_bounds(counts, other)
    images = int(np.trace(counts) - np.trace(other))
    return {
        f"images_{role}": images,
        f"difference_{role}": 100 * images / counts.sum(),
        f"p_unpaired_{role}": statistics.unpaired(counts, other),
        f"p_mcnemar_min_{role}": least,
        f"p_mcnemar_max_{role}": most,
    }


def sheet(table: pd.DataFrame) -> Sheet:
    """Accuracies and comparisons; the rest is in the CSV."""
    headers = ["Configuration", "Checkpoint", "Accuracy (%)", "Macro-F1 (%)", "MAE"]
    for title in TITLES.values():
        headers += [f"Against {title}, {what}" for what in ("images", "p", "significant")]
    lines = []
    for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True):
        cells = [
            Cell(row["label"]),
            Cell(CHECKPOINTS[row["checkpoint"]] if row["variant"] != "baseline" else "–"),
            Cell(text["accuracy"], f"[{text['accuracy_low']}, {text['accuracy_high']}]"),
            Cell(text["macro_f1"]),
            Cell(text["mae"]),
        ]
        for role in TITLES:
            least, most = (text[f"p_mcnemar_{bound}_{role}_holm"] for bound in ("min", "max"))
            bounds = least if least == most else f"{least} to {most}"
            values = (text[f"images_{role}"], bounds, row[f"weight_{role}"])
            cells += [Cell(value or "–") for value in values]
        lines.append(cells)
    n = table["n"][0]
    return Sheet(
        f"The paper's results, n = {n}",
        headers,
        lines,
        [
            "Computed from the confusion matrices of the paper's Figs. 3 to 5, from which its"
            " Table 1 follows. Brackets hold 95 % confidence intervals (Wilson).",
            f"Images: how many more of the {n} images are right than with the pretrained baseline,"
            " or with the paper's base model (scheduler and λ = 1), at the same checkpoint.",
            "p: the matrices do not say which images two models both have right, so McNemar's"
            " exact test has bounds: the smallest and the largest p that the two matrices allow,"
            " Holm-corrected over all comparisons of this table.",
            f"Significant: yes where the corrected p is below {LEVEL} whichever images both models"
            " have right, no where it never is, open where it depends on these images. The CSV"
            " also has an unpaired exact test (Fisher).",
            "“Best on the benchmark” was chosen on the same images that it is measured on, so its"
            " accuracy is optimistic, and no p value here corrects for that.",
        ],
    )


def make_paper(matrices_json: str, *, csv_path: str, json_path: str, markdown_path: str) -> None:
    """Publish the table of the paper's results as CSV, JSON and Markdown."""
    results = table(matrices_json)
    sheets.write_csv(results, csv_path)
    sheets.write_sheets([sheet(results)], json_path, markdown_path)
    for role in OTHERS:
        log.info("against %s: %s", role, results[f"weight_{role}"].value_counts().to_dict())
