"""Table 1 as readers see it: ours beside the paper's, with notes."""

import logging

import numpy as np
import pandas as pd

from countclip.benchmarks import countbench
from countclip.data.number_words import WORDS
from countclip.report import pages, paper, sheets, statistics
from countclip.report.scores import (
    CHECKPOINTS,
    CONTROLS,
    PAPER,
    load_predictions,
    per_class,
    table1,
)
from countclip.report.sheets import Cell, Sheet
from countclip.runtime.files import write_text

log = logging.getLogger(__name__)


def make_table1(
    predictions: list[str],
    paper_table: str,
    paper_matrices: str,
    template: str,
    csv: str,
    per_class_csv: str,
    markdown: str,
    html: str,
    latex: str,
    *,
    rows: dict[int, int],
    benchmark: str,
    variants: list[dict[str, str]],
    reference: str | None,
    scale: str,
) -> None:
    """Publish Table 1 as CSV (two decimals), as Markdown, as a page, where the paper's own figures
    follow, and for LaTeX; and each class of it as CSV.

    rows: of `benchmark`, the variant that is counted (countbench.rows_of).
    """
    known = load_predictions(predictions, rows)
    table = table1(known, variants, pd.read_csv(paper_table), benchmark, scale, reference)
    sheets.write_csv(table, csv)
    sheets.write_csv(per_class(known, [variant["id"] for variant in variants]), per_class_csv)
    shown, papers = sheet(table), paper.sheet(paper.table(paper_matrices))
    write_text(sheets.markdown(shown), markdown)
    write_text(sheets.page([shown, papers], template), html)
    write_text(sheets.latex(shown, "tab:counting"), latex)
    log.info("%s\n%s", shown.title, table[["variant", "accuracy_end"]].to_string(index=False))


def make_benchmark_table(
    predictions: list[str],
    csv: str,
    markdown: str,
    *,
    rows: dict[int, int],
    benchmark: str,
    variants: list[dict[str, str]],
    reference: str | None,
    scale: str,
    seen: dict[str, int],
    distance: int,
) -> None:
    """Publish the same table of a further benchmark, without the paper's columns, and with how many
    of its pictures were seen before.

    rows: index -> number of those that are measured on (custom.rows_of). seen, distance: of
    `overlap.seen`.
    """
    no_paper = pd.DataFrame(columns=["variant", "end", "best"])
    known = load_predictions(predictions, rows)
    table = table1(known, variants, no_paper, benchmark, scale, reference)
    table = table.assign(**seen, near_distance=distance)
    sheets.write_csv(table, csv)
    write_text(sheets.markdown(sheet(table)), markdown)


def heading(table: pd.DataFrame) -> str:
    """The title, which says what the numbers are of."""
    title = f"Zero-shot counting accuracy, n = {table['n'][0]} ({table['benchmark'][0]})"
    stamp = pages.stamp(table["scale"][0])
    return f"{title}. {stamp.short}" if stamp else title


def sheet(table: pd.DataFrame) -> Sheet:
    """What a reader sees of Table 1 at a glance; the rest is in the CSV. ▲ marks the highest."""
    highest = {name: table[f"accuracy_{name}"].max() for name in CHECKPOINTS}
    rows = []
    for figures, text in zip(
        table.to_dict("records"), sheets.texts(table).to_dict("records"), strict=True
    ):
        row = {"Configuration": Cell(text["label"])}
        for name, title in CHECKPOINTS.items():
            key = f"accuracy_{name}"
            shown = f"{text[key]} ± {text[key + '_sd']}" if " " in text["seeds"] else text[key]
            best = figures[key] == highest[name]
            row[f"Accuracy, {title} (%)"] = _cell(shown, text, key, best)
            if name == "end":
                difference = figures["difference_baseline"]
                shown = "" if np.isnan(difference) else f"{difference:+.2f}"
                row["Difference to baseline"] = _cell(shown, text, "difference_baseline")
                row["p, corrected"] = Cell(text["p_end_vs_baseline_holm"] or "–")
        if table["paper_end"].notna().any():
            for name in PAPER:
                figure, inside = text[f"paper_{name}"], text[f"paper_{name}_inside"]
                where = {"yes": "inside", "no": "outside"}.get(inside, "")
                row[f"Paper, {name} (%)"] = Cell(figure or "–", where)
        rows.append(row)
    return Sheet(
        heading(table),
        list(rows[0]),
        [list(row.values()) for row in rows],
        notes(table),
        pages.stamp(table["scale"][0]),
    )


def _cell(shown: str, text: dict[str, str], key: str, best: bool = False) -> Cell:
    """A figure with its interval, or a dash where there is none."""
    if not shown:
        return Cell("–")
    return Cell(shown, f"[{text[key + '_low']}, {text[key + '_high']}]", best)


def notes(table: pd.DataFrame) -> list[str]:
    """What a reader must know to read the table right."""
    benchmark, n = table["benchmark"][0], table["n"][0]
    of = f"benchmark “{benchmark}”"
    if benchmark in countbench.VARIANTS:
        of = f"the benchmark's variant “{benchmark}”, {countbench.VARIANTS[benchmark]}"
    per_class = zip(WORDS.values(), table["n_per_class"][0].split(), strict=True)
    lines = [
        f"n = {n} images, the same for every row: {of}."
        f" Of each class: {', '.join(f'{word} {count}' for word, count in per_class)}.",
        "Brackets hold 95 % intervals: Wilson's of accuracies (mean over the seeds, ± standard"
        " deviation where there are several), and of differences, in percentage points at the end"
        " of training, the bootstrap's percentiles over the images, the same for both models. Each"
        " stands for itself: p alone is corrected for how many comparisons there are.",
        "Intervals and p say how sure a figure is on other images like these. How far another"
        " training of the same variant would be from it, several seeds alone can say.",
        _of_the_best(benchmark),
        *_of_the_seen(table),
        "p: exact McNemar test against the baseline at the end of training (several seeds: twice"
        " the median), corrected after Holm over all McNemar tests of the CSV. That also holds the"
        " differences to the reference, macro-F1, mean error and more.",
        *_of_the_paper(table),
        _of_the_controls(table),
        _of_the_ties(table),
        "▲ marks the highest figure of a column.",
    ]
    return lines


def _of_the_best(benchmark: str) -> str:
    if benchmark not in countbench.VARIANTS:
        return "“Best on the benchmark” is the checkpoint that did best on CountBench."
    return (
        "“Best on the benchmark” is the paper's protocol: the checkpoint was chosen on the very"
        " images that it is measured on, so its figure is too good."
    )


def _of_the_seen(table: pd.DataFrame) -> list[str]:
    if "near_training" not in table:
        return []
    own = table.iloc[0]
    lines = [
        f"Images near one that was trained on: {own['near_training']}; near one of CountBench's, by"
        f" which “best on the benchmark” was chosen: {own['near_countbench']}. They are measured on"
        f" like the others. Near: perceptual hashes differ in at most {own['near_distance']} of 64"
        " bits."
    ]
    if own["same_picture"]:
        lines.append(
            f"Rows with the picture of an earlier row: {own['same_picture']}. Intervals and p take"
            " each row for another picture, and so are somewhat too sure."
        )
    return lines


def _of_the_paper(table: pd.DataFrame) -> list[str]:
    if table["paper_end"].isna().all():
        return []
    return ["Inside or outside: where the paper's figure lies, seen from our interval."]


def _of_the_controls(table: pd.DataFrame) -> str:
    chance = 100 * statistics.CHANCE
    shares = [100 * int(count) / table["n"][0] for count in table["n_per_class"][0].split()]
    found = []
    for row in table[table["variant"].isin(CONTROLS)].itertuples():
        low, high = row.accuracy_end_low, row.accuracy_end_high
        where = "at chance" if low <= chance <= high else "NOT at chance"
        if where == "NOT at chance" and low <= max(shares) and high >= min(shares):
            where += ", but within reach without sight where numbers are not equally common"
        found.append(f"“{row.label}” is {where}")
    return (
        f"Controls: each is the mean over all models above. Chance is {chance:.2f} %, and to answer"
        f" always the commonest number would be right for {max(shares):.2f} %; by their intervals"
        f" {' and '.join(found)}."
    )


def _of_the_ties(table: pd.DataFrame) -> str:
    tied = table[~table["variant"].isin(CONTROLS) & table["ties"].gt(0)]
    rows = ", ".join(f"{row.label} {row.ties}" for row in tied.itertuples())
    return (
        "Ties, images with two or more captions equally similar, for which the lowest number counts"
        f" as predicted (seeds added up): {rows or 'none'}."
    )
