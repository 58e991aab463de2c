"""Table 1 as readers see it: ours beside the paper's, with notes."""

import logging
from collections.abc import Sequence

import pandas as pd

from countclip.benchmarks import countbench
from countclip.data.number_words import WORDS
from countclip.report import pages, sheets
from countclip.report.scores import (
    BASELINE,
    CHANCE,
    CHECKPOINTS,
    CONTROLS,
    PAPER,
    load_predictions,
    per_class,
    table1,
)
from countclip.report.sheets import SIGNED, TWO_DECIMALS, Cell, Sheet, p_value
from countclip.runtime.files import write_text

log = logging.getLogger(__name__)

FORMATS = {
    **{f"accuracy_{name}{of}": TWO_DECIMALS
       for name in CHECKPOINTS for of in ("", "_low", "_high", "_sd")},
    "difference_baseline": SIGNED,
    "difference_baseline_low": TWO_DECIMALS,
    "difference_baseline_high": TWO_DECIMALS,
    "p_end_vs_baseline_holm": p_value,
    **{f"paper_{name}": TWO_DECIMALS for name in PAPER},
}  # fmt: skip
"""Of each number that the sheet shows."""
AT_CHANCE, NOT_AT_CHANCE = "at chance", "NOT at chance"
CLASS_SIZES = f"{NOT_AT_CHANCE}, but within what unequal class sizes allow without seeing the image"
"""Verdicts on a control."""


def make_table1(
    predictions: list[str],
    *,
    paper_csv: str,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    latex_path: str,
    per_class_csv: str,
    rows: dict[int, int],
    benchmark: str,
    variants: list[dict[str, str]],
    reference: str | None,
    scale: str,
    repeated: int = 0,
    baselines: Sequence[dict[str, str]] = (),
) -> None:
    """Publish Table 1 as CSV, JSON, Markdown and LaTeX, and each class of it as CSV.

    rows: of `benchmark`, the variant of CountBench that is counted (countbench.rows_of).
    repeated: how many of them show the image of an earlier one (overlap.repeated_images).
    baselines: as `scores.table1` has it.
    """
    loaded = load_predictions(predictions, rows)
    paper = sheets.read_csv(paper_csv)
    table = table1(loaded, variants, paper, benchmark, scale, reference, baselines)
    sheets.write_csv(table, csv_path)
    ids = ([row["id"] for row in of] for of in (variants, baselines or [BASELINE]))
    sheets.write_csv(per_class(loaded, *ids), per_class_csv)
    view = sheet(table, repeated)
    sheets.write_sheets([view], json_path, markdown_path)
    write_text(sheets.latex(view, "tab:counting"), latex_path)
    log.info("%s\n%s", view.title, table[["variant", "accuracy_end"]].to_string(index=False))


def make_benchmark_table(
    predictions: list[str],
    *,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    rows: dict[int, int],
    benchmark: str,
    variants: list[dict[str, str]],
    reference: str | None,
    scale: str,
    seen: dict[str, int | None],
    distance: int,
    chosen_on: str = "countbench",
    baselines: Sequence[dict[str, str]] = (),
) -> None:
    """Publish the same table of a further benchmark, with how many images were seen in training.

    It has no values of the paper.
    rows: index -> number of those that are measured on (custom.rows_of).
    seen, distance: of `overlap.count_overlaps`. chosen_on: id of the benchmark that checkpoints are
        chosen on. baselines: as `scores.table1` has it.
    """
    no_paper = pd.DataFrame(columns=["variant", "end", "best"])
    loaded = load_predictions(predictions, rows)
    table = table1(loaded, variants, no_paper, benchmark, scale, reference, baselines)
    table = table.assign(**seen, near_distance=distance)
    sheets.write_csv(table, csv_path)
    view = sheet(table, seen["same_picture"], chosen_on)
    sheets.write_sheets([view], json_path, markdown_path)


def heading(table: pd.DataFrame) -> str:
    """Title of the sheets made from Table 1: measure, n, benchmark and stamp."""
    title = f"Zero-shot counting accuracy, n = {table['n'][0]} ({table['benchmark'][0]})"
    stamp = pages.stamp(table["scale"][0])
    return f"{title}. {stamp.short}" if stamp else title


def sheet(table: pd.DataFrame, repeated: int = 0, chosen_on: str = "countbench") -> Sheet:
    """The main columns of Table 1, the highest accuracies marked; the CSV has the rest.

    repeated: rows of the benchmark that show the image of an earlier row. chosen_on: id of the
        benchmark that checkpoints are chosen on.
    """
    highest = {name: table[f"accuracy_{name}"].max() for name in CHECKPOINTS}
    has_paper = table["paper_end"].notna().any()
    lines = []
    for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True):
        cells = {"Configuration": Cell(row["label"])}
        for name, title in CHECKPOINTS.items():
            key = f"accuracy_{name}"
            value = f"{text[key]} ± {text[key + '_sd']}" if " " in row["seeds"] else text[key]
            best = bool(row[key] == highest[name])
            cells[f"Accuracy, {title} (%)"] = _with_interval(value, text, key, best)
            if name == "end":
                key = "difference_baseline"
                cells["Difference to baseline"] = _with_interval(text[key], text, key)
                cells["p, corrected"] = Cell(text["p_end_vs_baseline_holm"] or "–")
        for name in PAPER if has_paper else ():
            where = {"yes": "inside", "no": "outside"}.get(row[f"paper_{name}_inside"], "")
            cells[f"Paper, {name} (%)"] = Cell(text[f"paper_{name}"] or "–", where)
        lines.append(cells)
    return Sheet(
        heading(table),
        list(lines[0]),
        [list(cells.values()) for cells in lines],
        notes(table, repeated, chosen_on),
        pages.stamp(table["scale"][0]),
    )


def _with_interval(value: str, text: dict[str, str], key: str, best: bool = False) -> Cell:
    """A value with its interval, or a dash where there is none."""
    if not value:
        return Cell("–")
    return Cell(value, f"[{text[key + '_low']}, {text[key + '_high']}]", best)


def notes(table: pd.DataFrame, repeated: int, chosen_on: str = "countbench") -> list[str]:
    """What a reader must know to read the table right; `repeated`, `chosen_on`: see `sheet`."""
    benchmark, n = table["benchmark"][0], table["n"][0]
    source = f"benchmark “{benchmark}”"
    if benchmark in countbench.VARIANTS:
        source = f"the benchmark's variant “{benchmark}”, {countbench.VARIANTS[benchmark]}"
    per_class = zip(WORDS.values(), table["n_per_class"][0].split(), strict=True)
    counted = f"{n} rows with {n - repeated} different images" if repeated else f"{n} images"
    return [
        f"n = {counted}, the same for every row: {source}."
        f" {'Rows' if repeated else 'Images'} per class:"
        f" {', '.join(f'{word} {count}' for word, count in per_class)}.",
        "Brackets hold 95 % confidence intervals: Wilson's for accuracies (mean over the seeds, ±"
        " standard deviation where there are several); the paired bootstrap's over images for"
        " differences, in percentage points at the end of training. Only p values are corrected"
        " for multiple comparisons.",
        "Intervals and p values cover the choice of images. Only several seeds show how much"
        " trainings of the same variant differ.",
        _best_note(benchmark, chosen_on),
        *_overlap_notes(table, chosen_on),
        *_repeated_notes(repeated),
        *_baseline_notes(table),
        "p: exact McNemar test against the baseline at the end of training (several seeds: twice"
        " the median p), Holm-corrected over all McNemar tests of the CSV. The CSV also has"
        " differences to the reference, macro-F1, mean absolute error and more.",
        *_paper_notes(table),
        _control_note(table),
        _tie_note(table),
        "▲ marks the highest value of a column.",
    ]


def _baseline_notes(table: pd.DataFrame) -> list[str]:
    if "baseline" not in table:
        return []
    labels = dict(zip(table["variant"], table["label"], strict=True))
    own = table.dropna(subset="baseline").groupby("baseline", sort=False)["label"]
    pairs = "; ".join(f"“{labels[row]}” of {', '.join(of)}" for row, of in own)
    return [f"The baseline of each variant is its own model before training: {pairs}."]


def _title(benchmark: str) -> str:
    return "CountBench" if benchmark == "countbench" else f"the benchmark “{benchmark}”"


def _best_note(benchmark: str, chosen_on: str) -> str:
    if benchmark not in (*countbench.VARIANTS, chosen_on):
        return f"“Best on the benchmark” is the checkpoint that did best on {_title(chosen_on)}."
    return (
        "“Best on the benchmark” is the paper's protocol: the checkpoint was chosen on the same"
        " images that it is measured on, so its accuracy is optimistic."
    )


def _overlap_notes(table: pd.DataFrame, chosen_on: str) -> list[str]:
    if "near_training" not in table:
        return []
    first = table.iloc[0]
    rows = "Rows whose image has" if first["same_picture"] else "Images with"
    near = first["near_countbench"]
    where = f"{_title(chosen_on)}, on which “best on the benchmark” was chosen"
    other = "" if pd.isna(near) else f"; with one in {where}: {near}"
    return [
        f"{rows} a near duplicate in the training data: {first['near_training']}{other}."
        " They count like the others. Near duplicate: perceptual hashes differ in at most"
        f" {first['near_distance']} of 64 bits."
    ]


def _repeated_notes(repeated: int) -> list[str]:
    if not repeated:
        return []
    return [
        f"Rows that repeat the image of an earlier row: {repeated}. Intervals and p values treat"
        " each row as another image, so intervals are too narrow and p values too small."
    ]


def _paper_notes(table: pd.DataFrame) -> list[str]:
    if table["paper_end"].isna().all():
        return []
    return ["Inside, outside: whether the paper's value lies in our interval."]


def control_verdicts(table: pd.DataFrame) -> dict[str, str]:
    """AT_CHANCE, CLASS_SIZES or NOT_AT_CHANCE for each control, by its label and interval."""
    shares = _class_shares(table)
    verdicts = {}
    for row in table[table["variant"].isin(CONTROLS)].itertuples():
        low, high = row.accuracy_end_low, row.accuracy_end_high
        verdict = AT_CHANCE if low <= CHANCE <= high else NOT_AT_CHANCE
        if verdict == NOT_AT_CHANCE and low <= max(shares) and high >= min(shares):
            verdict = CLASS_SIZES
        verdicts[row.label] = verdict
    return verdicts


def _class_shares(table: pd.DataFrame) -> list[float]:
    """Share of the images of each class, in percent."""
    return [100 * int(count) / table["n"][0] for count in table["n_per_class"][0].split()]


def _control_note(table: pd.DataFrame) -> str:
    verdicts = [f"“{label}” is {verdict}" for label, verdict in control_verdicts(table).items()]
    return (
        f"Controls: each is the mean over all models above. Chance is {CHANCE:.2f} %; always"
        f" answering the most common number is right for {max(_class_shares(table)):.2f} %. By"
        f" their intervals, {' and '.join(verdicts)}."
    )


def _tie_note(table: pd.DataFrame) -> str:
    tied = table[~table["variant"].isin(CONTROLS) & table["ties"].gt(0)]
    rows = ", ".join(f"{row.label} {row.ties}" for row in tied.itertuples())
    return (
        "Ties, images for which two or more captions are equally similar and the lowest number"
        f" counts as predicted (summed over the seeds): {rows or 'none'}."
    )
