"""How much does the number word of a caption matter, before and after fine-tuning? In figures."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from countclip.report import sheets, statistics
from countclip.report.plotting import INK, MARKERS, drawing
from countclip.report.scores import BASELINE, with_seeds

LONGEST = 12
"""Tokens of a caption that is drawn."""
COLUMNS = [
    *("variant", "label", "number", "captions", "share", "share_low", "share_high", "uniform"),
    *("gain", "gain_low", "gain_high", "seeds", "scale"),
]


def load(path: str, rows: dict[int, int]) -> pd.DataFrame:
    """What `measure` found for `rows` (countbench.rows_of), with the caption's `number`, the
    `share` of its number word, and `uniform`, that of a word if all tokens mattered alike."""
    table = pd.read_parquet(path)
    table = table[table["index"].isin(rows)].reset_index(drop=True)
    spans = zip(table["shares"], table["first"], table["last"], strict=True)
    return table.assign(
        number=table["index"].map(rows),
        share=[share[first:last].sum() for share, first, last in spans],
        uniform=(table["last"] - table["first"]) / table["tokens"].map(len),
    )


def summarise(table: pd.DataFrame, variants: list[dict[str, str]], scale: str) -> pd.DataFrame:
    """The mean share of the number word in percent, by model and number (and `all`), and the gain
    over the first of `variants`; columns COLUMNS.

    table: of `load`. Seeds are averaged; intervals are the bootstrap's over captions
    (statistics.bootstrap), paired for the gain; there is none of a single caption.
    """
    by = table.groupby(["number", "index", "variant"])["share"].mean().unstack("variant")
    uniform = table.groupby(["number", "index"])["uniform"].first()
    lines = []
    for number, own in [("all", by), *by.groupby("number")]:
        found = statistics.means_and_gains(
            100 * own[[variant["id"] for variant in variants]], "share"
        )
        found = found.assign(
            label=[variant["label"] for variant in variants],
            number=number,
            captions=len(own),
            uniform=100 * uniform[own.index].mean(),
            scale=scale,
        )
        lines.append(found.reset_index(names="variant"))
    return with_seeds(lines, table)[COLUMNS]


def draw(
    measured: str,
    csv: str,
    svg: str,
    png: str,
    *,
    rows: dict[int, int],
    variants: list[dict[str, str]],
    scale: str,
) -> None:
    """Publish the table of `summarise`, and a figure of some captions and of the mean shares.

    rows: of the benchmark's variant that is counted (countbench.rows_of).
    variants: id and label of the models besides the baseline.
    """
    table = load(measured, rows)
    shown = [BASELINE, *variants]
    summary = summarise(table, shown, scale)
    sheets.write_csv(summary, csv)
    examples = [_example(own) for own in _some_numbers(table)]
    width = max(own["tokens"].iloc[0].size for own in examples)
    title = "How much of a caption's similarity with its picture hangs on its number word?"
    tall, low = len(examples) * (0.3 * len(shown) + 0.65), 0.3 * len(shown) + 0.9
    with drawing(svg, png, scale, max(8.0, 0.75 * width + 3), tall + low + 0.8, title) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=[tall, low])
        panels = above.subplots(len(examples), 1, squeeze=False)[:, 0]
        for axes, own in zip(panels, examples, strict=True):
            _caption(axes, own, shown)
        panels[0].set_title("Share of each token (%), the number word framed", loc="left", pad=10)
        _means(below.subplots(), summary[summary["number"] == "all"])


def _some_numbers(table: pd.DataFrame) -> list[pd.DataFrame]:
    """What was measured for the lowest, the middle and the highest number."""
    numbers = sorted(table["number"].unique())
    chosen = dict.fromkeys([numbers[0], numbers[len(numbers) // 2], numbers[-1]])
    return [table[table["number"] == number] for number in chosen]


def _example(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one caption that fits a line: that whose number word has the median share before
    fine-tuning, so that nobody chose it."""
    length = table["tokens"].map(len)
    before = table[(table["variant"] == BASELINE["id"]) & (length <= max(LONGEST, length.min()))]
    order = before.sort_values(["share", "index"])["index"]
    return table[table["index"] == order.iloc[len(order) // 2]]


def _caption(axes: Axes, own: pd.DataFrame, shown: list[dict[str, str]]) -> None:
    """Tokens of a caption, shaded by their share for each model."""
    first = own.iloc[0]
    shares = np.array(
        [np.mean([*own.loc[own["variant"] == model["id"], "shares"]], axis=0) for model in shown]
    )
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.55 else "black"
        axes.text(
            column, row, f"{100 * share:.0f}", ha="center", va="center", color=color, fontsize=8
        )
    word = range(first["first"], first["last"])
    axes.add_patch(
        Rectangle(
            (word[0] - 0.5, -0.5), len(word), len(shown),
            fill=False, edgecolor=INK[2], linewidth=2.5, clip_on=False, zorder=3,
        )
    )  # fmt: skip
    axes.set_xticks(range(len(first["tokens"])), [_text(token) for token in first["tokens"]])
    for column, label in enumerate(axes.get_xticklabels()):
        label.set_parse_math(False)
        label.set_fontweight("bold" if column in word else "normal")
    axes.set_yticks(range(len(shown)), [_text(model["label"], 34) for model in shown])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _text(text: str, longest: int = 12) -> str:
    """What anybody may have written, in a figure: short, and without what does not print."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _means(axes: Axes, table: pd.DataFrame) -> None:
    """Mean share of the number word of each model, with its interval and what chance is."""
    places = np.arange(len(table))[::-1]
    known = table.fillna({"share_low": table["share"], "share_high": table["share"]})
    around = [known["share"] - known["share_low"], known["share_high"] - known["share"]]
    axes.errorbar(
        known["share"], places, xerr=around, fmt=MARKERS[0], color=INK[1], ecolor=INK[0], capsize=3
    )
    for place, row in zip(places, table.itertuples(), strict=True):
        axes.annotate(
            f"{row.share:.1f}", (row.share, place), (0, 5), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    uniform = table["uniform"].iloc[0]
    axes.axvline(uniform, color="#555555", linestyle=":", label="if all tokens mattered alike")
    axes.set_yticks(places, [_text(label, 34) for label in table["label"]])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(-0.6, len(table) - 0.3)
    axes.set_xlim(left=0)
    axes.margins(x=0.1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean share of the number word (%), with 95 % interval")
    axes.set_title(f"Mean over {table['captions'].iloc[0]} captions", loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
