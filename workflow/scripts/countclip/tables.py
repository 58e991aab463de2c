"""What does Table 1 say, ours beside the paper's?

One row for the untouched baseline and each variant. A share is the mean over the seeds; its 95 %
interval is Wilson's on that mean with n images (`statistics.wilson`). A tie counts as the number
that was predicted, the lowest of the equals, and the column `ties` says how often that happened.
"""

import logging
from typing import Any

import numpy as np
import pandas as pd

from countclip import countbench, pages, statistics
from countclip.captions import WORDS
from countclip.files import publish, write_text

log = logging.getLogger(__name__)

CHECKPOINTS = {
    "end": "end of training",
    "best_on_benchmark": "best on the benchmark",
    "selected": "selected on held-out data",
}
BASELINE = {
    "id": "baseline",
    "label": "baseline, not fine-tuned",
    "schedule": "",
    "lambda_scheme": "",
    "loss": "",
}
COLUMNS = [
    *("variant", "label", "scheduler", "lambda_scheme", "loss"),
    *("benchmark", "n", "n_per_class"),
    *(f"accuracy_{name}{bound}" for name in CHECKPOINTS for bound in ("", "_low", "_high")),
    *("paper_end", "paper_best", "mae", "off_by_one", "ties", "p_end_vs_baseline"),
    *("seeds", "scale"),
]


def load_predictions(paths: list[str], rows: dict[int, int]) -> pd.DataFrame:
    """All predictions on `rows` (countbench.rows_of) in one frame, with `right`; ValueError when
    runs saw different images, or not all of these."""
    frames = [pd.read_parquet(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        for name, images in frame.groupby("checkpoint"):
            if not np.array_equal(images["index"], frames[0]["index"].unique()):
                raise ValueError(
                    f"{path}: checkpoint {name} was measured on other images than {paths[0]}:"
                    " delete both and run again"
                )
    if lacking := sorted(set(rows).difference(frames[0]["index"])):
        raise ValueError(
            f"{paths[0]}: no prediction for rows {lacking} of the benchmark: delete all predictions"
            " and run again"
        )
    table = pd.concat(frames, ignore_index=True)
    table = table[table["index"].isin(rows)].reset_index(drop=True)
    return table.assign(right=table["prediction"] == table["number"])


def matrix(predictions: pd.DataFrame, variant: str, checkpoint: str) -> np.ndarray:
    """(9, 9) confusion counts of a variant, its seeds added up. The baseline has one state, which
    stands for every checkpoint."""
    rows = _of(predictions, variant, checkpoint)
    return statistics.confusion_matrix(rows["number"].to_numpy(), rows["prediction"].to_numpy())


def _of(predictions: pd.DataFrame, variant: str, checkpoint: str) -> pd.DataFrame:
    checkpoint = "end" if variant == "baseline" else checkpoint
    rows = predictions.query("variant == @variant and checkpoint == @checkpoint")
    if rows.empty:
        raise ValueError(f"no predictions of variant {variant!r}, checkpoint {checkpoint!r}")
    return rows


def table1(
    predictions: pd.DataFrame,
    variants: list[dict[str, str]],
    paper: pd.DataFrame,
    benchmark: str,
    scale: str,
) -> pd.DataFrame:
    """Table 1 with the columns COLUMNS, numbers unrounded, shares in percent.

    benchmark: the variant of the benchmark whose rows `predictions` holds.
    variants: id, label, schedule, lambda_scheme and loss of each, in the order of the rows.
    paper: variant, end and best, the paper's figures in percent.
    """
    paper = paper.set_index("variant")
    known = _of(predictions, "baseline", "end")
    n, per_class = known["index"].nunique(), countbench.per_class(known["number"])
    rows = []
    for variant in [BASELINE, *variants]:
        name = variant["id"]
        end = _of(predictions, name, "end")
        counts = matrix(predictions, name, "end")
        row = {
            "variant": name,
            "label": variant["label"],
            "scheduler": variant["schedule"],
            "lambda_scheme": variant["lambda_scheme"],
            "loss": variant["loss"],
            "benchmark": benchmark,
            "n": n,
            "n_per_class": " ".join(map(str, per_class.values())),
            "paper_end": paper["end"].get(name, np.nan),
            "paper_best": paper["best"].get(name, np.nan),
            "mae": statistics.mae(counts),
            "off_by_one": 100 * statistics.off_by_one(counts),
            "ties": int(end["tie"].sum()),
            "p_end_vs_baseline": np.nan,
            "seeds": "",
            "scale": scale,
        }
        for checkpoint in CHECKPOINTS:
            share = statistics.accuracy(matrix(predictions, name, checkpoint))
            low, high = statistics.wilson(share, n)
            column = f"accuracy_{checkpoint}"
            row |= {column: 100 * share, f"{column}_low": 100 * low, f"{column}_high": 100 * high}
        if name != "baseline":
            p_values = [
                statistics.mcnemar(run["right"].to_numpy(), known["right"].to_numpy())
                for _, run in end.groupby("seed")
            ]
            row["p_end_vs_baseline"] = statistics.combined(p_values)
            row["seeds"] = " ".join(map(str, sorted(end["seed"].unique())))
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def make_table1(
    predictions: list[str],
    paper: str,
    template: str,
    csv: str,
    markdown: str,
    html: str,
    *,
    rows: dict[int, int],
    benchmark: str,
    variants: list[dict[str, str]],
    scale: str,
) -> None:
    """Publish Table 1 as CSV (two decimals), as Markdown and as a page of its own.

    rows: of `benchmark`, the variant that is counted (countbench.rows_of).
    """
    known = load_predictions(predictions, rows)
    table = table1(known, variants, pd.read_csv(paper), benchmark, scale)
    text = table.copy()
    for column in text.columns:
        if column == "p_end_vs_baseline":
            text[column] = [_format(value, ".2g") for value in text[column]]
        elif pd.api.types.is_float_dtype(text[column]):
            text[column] = [_format(value, ".2f") for value in text[column]]
    with publish(csv) as temporary:
        text.to_csv(temporary, index=False, lineterminator="\n")
    write_text(render_markdown(text), markdown)
    write_text(render_html(text, template), html)
    log.info("%s\n%s", heading(text), text[["variant", "accuracy_end"]].to_string(index=False))


def _format(value: float, how: str) -> str:
    return "" if np.isnan(value) else format(value, how)


def heading(table: pd.DataFrame) -> str:
    """The title, which says what the numbers are of."""
    title = f"Zero-shot counting accuracy, n = {table['n'][0]} ({table['benchmark'][0]})"
    stamp = pages.stamp(table["scale"][0])
    return f"{title}. {stamp.short}" if stamp else title


def rendered(table: pd.DataFrame) -> tuple[list[str], list[dict[str, Any]]]:
    """Headers and rows to show: `best` holds the headers of which a row has the highest figure.

    table: as in the CSV, every cell text.
    """
    shown = {f"Accuracy, {title} (%)": f"accuracy_{name}" for name, title in CHECKPOINTS.items()}
    highest = {header: table[column].astype(float).max() for header, column in shown.items()}
    rows = []
    for cells in table.to_dict("records"):
        row = {"Configuration": cells["label"]}
        for header, column in shown.items():
            row[header] = f"{cells[column]} [{cells[column + '_low']}, {cells[column + '_high']}]"
        row |= {
            "Paper, end (%)": cells["paper_end"] or "–",
            "Paper, best (%)": cells["paper_best"] or "–",
            "Mean error": cells["mae"],
            "At most one off (%)": cells["off_by_one"],
            "Ties": cells["ties"],
            "p against baseline": cells["p_end_vs_baseline"] or "–",
            "Seeds": cells["seeds"] or "–",
        }
        best = [h for h, column in shown.items() if float(cells[column]) == highest[h]]
        rows.append({"cells": row, "best": best})
    return list(rows[0]["cells"]), rows


def notes(table: pd.DataFrame) -> list[str]:
    """What a reader must know to read the table right."""
    benchmark, n = table["benchmark"][0], table["n"][0]
    per_class = zip(WORDS.values(), table["n_per_class"][0].split(), strict=True)
    lines = [
        f"n = {n} images, the same for every row: the benchmark's variant `{benchmark}`,"
        f" {countbench.VARIANTS[benchmark]}. Of each class:"
        f" {', '.join(f'{word} {count}' for word, count in per_class)}.",
        "Brackets hold 95 % intervals (Wilson, on the mean over the seeds).",
        "“Best on the benchmark” is the paper's protocol: the checkpoint was chosen on the very"
        " images that it is measured on, so its figure is too good.",
        "Mean error, at most one off, ties and p are of the end of training. p: exact McNemar"
        " test on the same images; with several seeds twice the median.",
        "Ties: images with two or more captions equally similar; the lowest number was predicted."
        " Seeds are added up.",
        "▲ marks the highest figure of a column.",
    ]
    return lines


def render_markdown(table: pd.DataFrame) -> str:
    headers, rows = rendered(table)
    lines = [f"# {heading(table)}", "", "| " + " | ".join(headers) + " |"]
    lines.append("|" + "|".join([" :-- "] + [" --: "] * (len(headers) - 1)) + "|")
    for row in rows:
        cells = [
            f"**{cell}** ▲" if header in row["best"] else str(cell).replace("|", "\\|")
            for header, cell in row["cells"].items()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    stamp = pages.stamp(table["scale"][0])
    said = [stamp.text, *notes(table)] if stamp else notes(table)
    return "\n".join([*lines, "", *(f"- {note}" for note in said)]) + "\n"


def render_html(table: pd.DataFrame, template: str) -> str:
    headers, rows = rendered(table)
    return pages.render(
        template,
        styles=["page.css", "table1.css"],
        heading=heading(table),
        stamp=pages.stamp(table["scale"][0]),
        headers=headers,
        rows=rows,
        notes=notes(table),
    )
