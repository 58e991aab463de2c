"""The first screen of the report: the main result in a sentence, and a dot plot of all models.

Both compare the models at the end of training, where no checkpoint is chosen on the benchmark. All
numbers are those of Table 1 (scores.table1); here they only become words and places.
"""

from dataclasses import dataclass
from math import ceil

import pandas as pd

from countclip.report import scores, statistics, table1
from countclip.report.sheets import ONE_DECIMAL, p_value

RUNS = {"miniature": "in this miniature, ", "partial": "in this partial run, ", "paper": ""}
"""How the sentence begins, by scale."""
VERDICTS = {
    "above": "significantly above the baseline",
    "below": "significantly below it",
    "neither": "no significant difference",
}
"""Kinds of variants, by their corrected p."""


def models(table: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """The pretrained baseline and the variants of Table 1, without the controls."""
    is_baseline = scores.is_baseline(table["variant"])
    is_control = table["variant"].isin(scores.CONTROLS)
    return table[is_baseline].iloc[0], table[~is_baseline & ~is_control]


def _best(variants: pd.DataFrame) -> pd.Series:
    return variants.loc[variants["accuracy_end"].idxmax()]


def _kind(row: pd.Series) -> str:
    """Kind of a variant, one of VERDICTS; a missing p is not significant."""
    points = _points(row)
    if row["p_end_vs_baseline_holm"] < statistics.LEVEL and points:
        return "above" if points > 0 else "below"
    return "neither"


def _points(row: pd.Series) -> float:
    """Difference of a variant to the baseline; 0 where only the last digits of means differ."""
    return round(row["difference_baseline"], 9)


# ---- words ----


def finding(table: pd.DataFrame, scale: str) -> str:
    """The main result in one sentence, true whatever the numbers are.

    It compares the best variant with the pretrained baseline. It says first when that is no gain,
    and always when the run is not the whole experiment.
    """
    baseline, variants = models(table)
    if variants.empty:
        told = (
            "nothing was trained: the pretrained baseline counts"
            f" {ONE_DECIMAL(baseline['accuracy_end'])} % of {baseline['n']} images correctly."
        )
    else:
        told = _compared(_best(variants), variants)
    return _capital(RUNS[scale] + told)


def _compared(best: pd.Series, variants: pd.DataFrame) -> str:
    which = "the only variant" if len(variants) == 1 else f"the best of {len(variants)} variants"
    seeds = len(best["seeds"].split())
    mean = f" (mean of {seeds} seeds)" if seeds > 1 else ""
    gain = ": a significant gain" if _kind(best) == "above" else ""
    low, high = (_number(best[f"difference_baseline_{bound}"]) for bound in ("low", "high"))
    return (
        f"{_verdict(best, variants)}{ONE_DECIMAL(best['accuracy_end'])} % correct with"
        f" {which}{mean}, {_distance(_points(best))} the pretrained baseline{gain}"
        f" (95 % interval {low} to {high} points, {_p(best)})."
    )


def _verdict(best: pd.Series, variants: pd.DataFrame) -> str:
    """What a reader must know before the numbers; nothing before a significant gain."""
    kind = _kind(best)
    if kind == "above":
        return ""
    if kind == "below":
        return "significant loss: "
    if _points(best) <= 0:
        return "no gain: "
    others = variants.apply(_kind, axis=1).eq("above").any()
    return "the largest gain is not significant: " if others else "no significant gain: "


def _distance(points: float) -> str:
    if not points:
        return "exactly as many as with"
    size = ONE_DECIMAL(abs(points))
    size = "less than 0.1" if float(size) == 0 else size
    return f"{size} points {'above' if points > 0 else 'below'}"


def _number(value: float) -> str:
    """A number with one decimal, a true minus, and no sign before zero."""
    text = ONE_DECIMAL(value)
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _p(row: pd.Series) -> str:
    p = row["p_end_vs_baseline_holm"]
    if pd.isna(p):
        return "not tested"
    return "p < 0.001" if p < 0.001 else f"p = {p_value(p)}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def remarks(table: pd.DataFrame) -> list[str]:
    """What a reader must know to take the sentence right: variant, test, choice and controls."""
    _, variants = models(table)
    lines = []
    if not variants.empty:
        best = _best(variants)
        lines.append(f"{'Variant' if len(variants) == 1 else 'Best variant'}: “{best['label']}”.")
        if len(variants) > 1 and _points(best) > 0:
            lines.append(
                "It was chosen on these same images, so its gain and interval are optimistic; only"
                " p is corrected for the choice."
            )
        lines.append("p: exact McNemar test, Holm-corrected.")
    controls = table1.control_verdicts(table)
    if controls and set(controls.values()) == {table1.AT_CHANCE}:
        return [*lines, "The controls are at chance."]
    return [*lines, *_sentences(controls, table1.CLASS_SIZES)]


def warnings(table: pd.DataFrame) -> list[str]:
    """A sentence on each control that is not at chance."""
    controls = _sentences(table1.control_verdicts(table), table1.NOT_AT_CHANCE)
    return [f"{sentence} The benchmark may give answers away." for sentence in controls]


def _sentences(controls: dict[str, str], verdict: str) -> list[str]:
    return [f"“{label}” is {verdict}." for label, its in controls.items() if its == verdict]


# ---- dot plot ----


@dataclass
class Dot:
    """A row of the plot. kind: of VERDICTS, or baseline; at, low, high: places on the axis in %."""

    label: str
    kind: str
    value: str
    range: str
    at: float
    low: float
    high: float


@dataclass
class Mark:
    """A tick or a labelled line. at: place on the axis in %; label: its text."""

    label: str
    at: float


@dataclass
class DotPlot:
    """Accuracies of all models with their intervals, the highest first.

    title: what the axis shows; description: the plot in words. lines: by kind, chance and baseline.
    legend: text of each kind, with the number of variants; empty where nothing was trained.
    """

    title: str
    description: str
    dots: list[Dot]
    ticks: list[Mark]
    lines: dict[str, Mark]
    legend: dict[str, str]


def dot_plot(table: pd.DataFrame) -> DotPlot:
    """The plot of the pretrained baseline and all variants of Table 1, on an axis from zero."""
    baseline, variants = models(table)
    pretrained = table[scores.is_baseline(table["variant"])]
    kinds = [*["baseline"] * len(pretrained), *(_kind(row) for _, row in variants.iterrows())]
    rows = table.loc[[*pretrained.index, *variants.index]].assign(kind=kinds)
    rows = rows.sort_values("accuracy_end", ascending=False, kind="stable")
    step, end = _axis(max(rows["accuracy_end_high"].max(), scores.CHANCE))
    dots = []
    for row in rows.to_dict("records"):
        value, low, high = (row[f"accuracy_end{bound}"] for bound in ("", "_low", "_high"))
        texts = ONE_DECIMAL(value), f"[{ONE_DECIMAL(low)}, {ONE_DECIMAL(high)}]"
        places = (100 * number / end for number in (value, low, high))
        dots.append(Dot(row["label"], row["kind"], *texts, *places))
    references = {
        "chance": ("chance", scores.CHANCE),
        "baseline": ("pretrained baseline", baseline["accuracy_end"]),
    }
    lines = {
        kind: Mark(f"{name} {ONE_DECIMAL(value)} %", 100 * value / end)
        for kind, (name, value) in references.items()
    }
    counts = rows["kind"].value_counts()
    legend = {kind: f"{text}: {counts.get(kind, 0)}" for kind, text in VERDICTS.items()}
    return DotPlot(
        title=f"Accuracy at the end of training, % of {baseline['n']} images",
        description=(
            f"{len(dots)} models, the most accurate first, each with its 95 % interval."
            f" Lines: {', '.join(line.label for line in lines.values())}."
        ),
        dots=dots,
        ticks=[Mark(str(tick), 100 * tick / end) for tick in range(0, end + 1, step)],
        lines=lines,
        legend=legend if len(variants) else {},
    )


def _axis(highest: float) -> tuple[int, int]:
    """Distance of the ticks, and the end of the axis: the first tick from `highest` on."""
    step = 5 if highest <= 25 else 10 if highest <= 60 else 20
    return step, step * ceil(highest / step)
