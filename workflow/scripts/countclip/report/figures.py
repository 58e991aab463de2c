"""Figures of the counting set, lambdas, training curves, confusion matrices and WiSE-FT."""

import textwrap
from collections.abc import Sequence
from math import log2
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from countclip.data import lambda_schemes
from countclip.data.number_words import NUMBERS
from countclip.report import scores, sheets
from countclip.report.plotting import INK, LINES, MARKERS, drawing

LOSSES = {
    "loss": ("whole loss", "#000000", "-", "o"),
    "loss_clip": ("L_CLIP", "#0072b2", "--", "s"),
    "loss_count": ("λ L_count", "#d55e00", "-.", "^"),
}
ACCURACIES = {
    "heldout_accuracy": ("accuracy, held-out pairs", "#009e73", "-", "D"),
    "benchmark_accuracy": ("accuracy, benchmark", "#aa4499", "--", "v"),
}
CHANCE_LINE = {"color": "#555555", "linewidth": 1.0, "linestyle": (0, (1, 2)), "label": "chance"}


def _counts(class_frequency_csv: str) -> dict[int, int]:
    table = sheets.read_csv(class_frequency_csv)
    return dict(zip(table["number"].tolist(), table["train"].tolist(), strict=True))


def _number_axis(axes: Axes) -> None:
    axes.set_xticks(NUMBERS)
    axes.set_xlabel("number in the caption")
    axes.grid(axis="x", visible=False)


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def class_frequency(class_frequency_csv: str, *, svg: str, png: str, name: str, scale: str) -> None:
    """Draw Fig. 2 for the counting set `name`: training pairs per class, their log2, and sigma.

    Sigma is that of Eq. 6, which lambda_log scales.
    """
    counts = {number: n for number, n in _counts(class_frequency_csv).items() if n}
    total = sum(counts.values())
    panels = {
        "(a) frequency n": counts,
        "(b) log2 n": {number: log2(n) for number, n in counts.items()},
        "(c) log2 log2 (n_total / n), Eq. 6": {
            number: log2(log2(total / n)) for number, n in counts.items() if n < total
        },
    }
    title = f"Class frequency of the counting set {name}, {total:,} training pairs"
    with drawing(svg, png, scale, 10, 3.6, title) as figure:
        for axes, (name, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            bars = axes.bar(list(values), list(values.values()), color=INK[1], edgecolor=INK[0])
            labels = [f"{value:,}" if name == "(a) frequency n" else f"{value:.2f}"
                      for value in values.values()]  # fmt: skip
            axes.bar_label(bars, labels, fontsize=7, padding=2)
            axes.axhline(0, color=INK[0], linewidth=0.8)
            axes.margins(y=0.12)
            axes.set_xlim(NUMBERS[0] - 0.7, NUMBERS[-1] + 0.7)
            axes.set_title(name, loc="left")
            _number_axis(axes)


def lambdas(class_frequency_csv: str, *, svg: str, png: str, name: str, scale: str) -> None:
    """Draw each class's lambda under every scheme, for the counting set `name`.

    lambda_0 = 1, before any normalisation.
    """
    counts = _counts(class_frequency_csv)
    title = f"Weight of the counting loss per class, counting set {name}"
    with drawing(svg, png, scale, 6.5, 4.4, title) as figure:
        axes = figure.subplots()
        for index, scheme in enumerate(lambda_schemes.SCHEMES):
            values = lambda_schemes.lambdas(counts, scheme)
            name = "constant (λ = 1)" if scheme == "constant" else f"λ {scheme}"
            axes.plot(
                list(values),
                list(values.values()),
                color=INK[index],
                linestyle=LINES[index],
                marker=MARKERS[index],
                label=name,
            )
        _log_scale(axes)
        axes.set_ylabel("λ, log scale")
        axes.legend(loc="upper left")
        _number_axis(axes)


def confusion(
    predictions: list[str],
    *,
    svg: str,
    png: str,
    rows: dict[int, int],
    benchmark: str,
    variants: list[dict[str, str]],
    checkpoint: str,
    scale: str,
    baselines: Sequence[dict[str, str]] = (),
) -> None:
    """Draw Figs. 3-5: confusion matrices of the baseline and `variants` at a checkpoint.

    rows: of `benchmark`, the variant of CountBench that is counted (countbench.rows_of).
    baselines: of several base models (`scores.table1`); those of `variants` are shown.
    The counts of several seeds are added up; the shade is the share of the row.
    """
    table = scores.load_predictions(predictions, rows)
    own = {variant.get("baseline") for variant in variants}
    panels = [*([row for row in baselines if row["id"] in own] or [scores.BASELINE]), *variants]
    columns = min(len(panels), 3 if len(panels) <= 6 else 4)
    lines = -(-len(panels) // columns)
    title = f"Confusion matrices, {scores.CHECKPOINTS[checkpoint]}\n{benchmark}, n = {len(rows)}"
    with drawing(svg, png, scale, 3.4 * columns, 3.5 * lines + 1.0, title) as figure:
        for index, variant in enumerate(panels):
            axes = figure.add_subplot(lines, columns, index + 1)
            counts = scores.matrix(table, variant["id"], checkpoint)
            _matrix(axes, counts)
            name = f"({chr(97 + index)}) {variant['label']}"
            _title(axes, name, f"{np.trace(counts)} of {counts.sum()} right")


def _matrix(axes: Axes, counts: np.ndarray) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for (row, column), n in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.55 else "black" if n else "#999999"
        axes.text(
            column, row, str(n), ha="center", va="center", fontsize=7, color=ink,
            fontweight="bold" if row == column else "normal",
        )  # fmt: skip
    places = range(len(NUMBERS))
    axes.set_xticks(places, NUMBERS)
    axes.set_yticks(places, NUMBERS)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _title(axes: Axes, label: str, *more: str) -> None:
    text = "\n".join([*textwrap.wrap(label, 42), *more])
    axes.set_title(text, loc="left")


def training_curves(
    histories: list[str],
    *,
    svg: str,
    png: str,
    variants: list[dict[str, str]],
    scale: str,
) -> None:
    """Draw losses (log scale) above accuracies, by step, for each variant.

    Thin lines are further seeds, the dotted line is chance. L_count is drawn as it enters the whole
    loss, times lambda.
    histories: paths <variant>/seed<seed>/history.csv.
    """
    runs: dict[str, list[str]] = {}
    for path in histories:
        runs.setdefault(Path(path).parents[1].name, []).append(path)
    columns = min(4, len(variants))
    rows = -(-len(variants) // columns)
    width = max(9, 3.2 * columns)
    with drawing(svg, png, scale, width, 4.2 * rows + 0.8, "Training curves") as figure:
        grid = figure.subplots(2 * rows, columns, sharex=True, sharey="row", squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for index, variant in enumerate(variants):
            row, column = divmod(index, columns)
            above, below = grid[2 * row : 2 * row + 2, column]
            for axes in (above, below):
                axes.set_visible(True)
            for number, path in enumerate(runs[variant["id"]]):
                history = sheets.read_csv(path)
                _curves(above, history, LOSSES, 1, thick=number == 0)
                _curves(below, history, ACCURACIES, 100, thick=number == 0)
            _title(above, variant["label"])
            _log_scale(above)
            below.set_ylim(0, 100)
            below.axhline(scores.CHANCE, **CHANCE_LINE)
            below.tick_params(labelbottom=True)
            below.set_xlabel("step")
            if column == 0:
                above.set_ylabel("loss, log scale")
                below.set_ylabel("accuracy (%)")
        handles = [line for axes in grid[:2, 0] for line in axes.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, loc="outside upper right", ncols=6 if width > 12 else 3)


def _curves(
    axes: Axes, history: pd.DataFrame, styles: dict[str, tuple], factor: float, thick: bool
) -> None:
    for column, (label, color, linestyle, marker) in styles.items():
        rows = history[history[column].notna()]  # no loss at step 0
        axes.plot(
            rows["step"],
            factor * rows[column],
            color=color,
            linestyle=linestyle,
            marker=marker,
            markersize=3,
            linewidth=1.4 if thick else 0.7,
            label=label if thick else None,
        )


CHOICES = {
    "best_on_benchmark": ("best mean of the two, chosen on the test images", "o", 130),
    "selected": ("best mean of held-out pairs and retention", "s", 210),
}


def wise_ft(table_csv: str, *, svg: str, png: str, scale: str) -> None:
    """Draw counting against retention: a line a variant, a mark an alpha.

    table_csv: of `retention.make_wise_ft`.
    """
    swept = sheets.read_csv(table_csv)
    checkpoint, benchmark, n = swept.loc[0, ["checkpoint", "benchmark", "n"]]
    title = (
        "Weights between baseline (α = 0) and fine-tuned model (α = 1)\n"
        f"{scores.CHECKPOINTS[checkpoint]}; {benchmark}, n = {n}"
    )
    with drawing(svg, png, scale, 7.5, 5.6, title) as figure:
        axes = figure.subplots()
        for index, (_, part) in enumerate(swept.groupby("variant", sort=False)):
            ink = INK[index % len(INK)]
            axes.plot(
                part["retention"],
                part["benchmark_accuracy"],
                color=ink,
                linestyle=LINES[index % len(LINES)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=4,
                label="\n".join(textwrap.wrap(part["label"].iloc[0], 42)),
            )
            for column, (_, marker, size) in CHOICES.items():
                best = part[part[column]]
                place = best["retention"], best["benchmark_accuracy"]
                axes.scatter(*place, size, facecolors="none", edgecolors=ink, marker=marker)
            for row in part[part["alpha"].isin([0.5, 1] if index else [0, 0.5, 1])].itertuples():
                axes.annotate(
                    f"α = {row.alpha:g}", (row.retention, row.benchmark_accuracy), (7, -12),
                    textcoords="offset points", fontsize=7, color=ink,
                )  # fmt: skip
        for label, marker, size in CHOICES.values():  # without a place, for the legend alone
            axes.scatter([], [], size / 2, facecolors="none", edgecolors=INK[0], marker=marker,
                         label=label)  # fmt: skip
        axes.set_xlabel("retention: right at the first answer, mean over the tasks (%)")
        axes.set_ylabel("accuracy on the benchmark (%)")
        axes.margins(0.08)
        # The worst corner, which most lines leave free.
        axes.legend(loc="lower left", fontsize=8)
