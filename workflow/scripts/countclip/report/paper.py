"""What do the paper's own figures show, with the statistics that it leaves out?

Its vector figures hold every confusion matrix, and from these all of its Table 1 follows. They do
not say which images two models have right, so McNemar's test has bounds here and no value: the
smallest and the largest p that the two matrices allow (statistics.mcnemar_bounds). Both are
corrected after Holm over all comparisons of the table. Holm's correction grows with each p value,
so the corrected p, were the images known, would lie between the corrected bounds.
"""

import json
import logging

import numpy as np
import pandas as pd

from countclip.report import statistics
from countclip.report.sheets import Cell, Sheet, markdown, write_csv
from countclip.runtime.files import write_text

log = logging.getLogger(__name__)

CHECKPOINTS = {"end": "end of training", "best": "best on the benchmark"}
OTHERS = {"baseline": "baseline", "base": "lambda1_sched"}
"""What each variant is compared with: the untouched CLIP, and what the paper calls base model."""
LEVEL = 0.05


def table(matrices: str) -> pd.DataFrame:
    """One row a variant and checkpoint, shares in percent, differences in percentage points.

    matrices: JSON of `variants`: id -> label, `best` and, but for the baseline, `end`: counts
        (9, 9), rows the true number. The baseline's one state is compared with both checkpoints.

    `weight_<other>` says whether a difference carries weight: `yes` if McNemar's test would say so
    (corrected p below LEVEL) whichever images the models share, `no` if it never would, and `open`
    if that depends on them.
    """
    with open(matrices, encoding="utf-8") as file:
        variants = json.load(file)["variants"]
    rows = [
        _row(variants, name, checkpoint)
        for name, own in variants.items()
        for checkpoint in CHECKPOINTS
        if checkpoint in own
    ]
    found = pd.DataFrame(rows).astype({f"images_{called}": "Int64" for called in OTHERS})
    for kind in ("p_unpaired", "p_mcnemar_min", "p_mcnemar_max"):
        columns = [f"{kind}_{called}" for called in OTHERS]
        corrected = statistics.holm(found[columns].to_numpy().ravel()).reshape(-1, len(columns))
        found[[f"{column}_holm" for column in columns]] = corrected
    for called in OTHERS:
        least, most = (found[f"p_mcnemar_{bound}_{called}_holm"] for bound in ("min", "max"))
        found[f"weight_{called}"] = np.select(
            [most < LEVEL, least >= LEVEL, least < LEVEL], ["yes", "no", "open"], ""
        )
    return found


def _row(variants: dict[str, dict], name: str, checkpoint: str) -> dict[str, float | str]:
    """What one matrix says by itself, and beside the others'."""
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
        "mae": statistics.mae(counts),
        "off_by_one": 100 * statistics.off_by_one(counts),
    }
    for called, other in OTHERS.items():
        if name not in ("baseline", other):
            known = variants[other]
            row |= _compared(counts, np.array(known.get(checkpoint, known["best"])), called)
    return row


def _compared(counts: np.ndarray, other: np.ndarray, called: str) -> dict[str, float]:
    least, most = statistics.mcnemar_bounds(counts, other)
    images = int(np.trace(counts) - np.trace(other))
    return {
        f"images_{called}": images,
        f"difference_{called}": 100 * images / counts.sum(),
        f"p_unpaired_{called}": statistics.unpaired(counts, other),
        f"p_mcnemar_min_{called}": least,
        f"p_mcnemar_max_{called}": most,
    }


def sheet(table: pd.DataFrame) -> Sheet:
    """What a reader sees of it at a glance; the rest is in the CSV."""
    headers = ["Configuration", "Checkpoint", "Accuracy (%)", "Macro-F1 (%)", "Mean error"]
    names = {"baseline": "baseline", "base": "base model"}
    for name in names.values():
        headers += [f"Against {name}, images", f"Against {name}, p", f"Against {name}, weight"]
    rows = []
    for row in table.to_dict("records"):
        cells = [
            Cell(row["label"]),
            Cell(CHECKPOINTS[row["checkpoint"]] if row["variant"] != "baseline" else "–"),
            Cell(
                f"{row['accuracy']:.2f}", f"[{row['accuracy_low']:.2f}, {row['accuracy_high']:.2f}]"
            ),
            Cell(f"{row['macro_f1']:.2f}"),
            Cell(f"{row['mae']:.2f}"),
        ]
        for called in names:
            least, most = (row[f"p_mcnemar_{bound}_{called}_holm"] for bound in ("min", "max"))
            cells += (
                [Cell("–")] * 3
                if np.isnan(least)
                else [
                    Cell(f"{int(row[f'images_{called}']):+d}"),
                    Cell("1" if least == 1 else f"{least:.2g} to {most:.2g}"),
                    Cell(row[f"weight_{called}"]),
                ]
            )
        rows.append(cells)
    n = table["n"][0]
    return Sheet(
        f"The paper's own figures, n = {n}",
        headers,
        rows,
        [
            "Computed from the confusion matrices of Figs. 3 to 5, from which its Table 1 follows."
            " Brackets hold 95 % intervals (Wilson).",
            f"Images: how many more of the {n} are right than with the untouched CLIP, or with the"
            " paper's base model (scheduler and λ = 1) at the same checkpoint.",
            "p: the matrices do not say which images two models have right, so McNemar's exact test"
            " has bounds: the smallest and the largest p that the two matrices allow, corrected"
            " after Holm over all comparisons of this table.",
            f"Weight: yes where the test says so (corrected p below {LEVEL}) whichever images the"
            " models share, no where it never does, open where that depends on them. An unpaired"
            " exact test (Fisher) is in the CSV.",
            "“Best on the benchmark” was chosen on the very images that it is measured on, so its"
            " figure is too good, and no p value here mends that.",
        ],
    )


def make_paper(matrices: str, csv: str, markdown_file: str) -> None:
    """Publish the table of the paper's own figures as CSV and Markdown."""
    found = table(matrices)
    write_csv(found, csv)
    write_text(markdown(sheet(found)), markdown_file)
    for called in OTHERS:
        log.info("against %s: %s", called, found[f"weight_{called}"].value_counts().to_dict())
