"""Relevancy of a caption's number word before and after fine-tuning: table and figure."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from countclip.report import pages, sheets, statistics
from countclip.report.plotting import INK, MARKERS, drawing
from countclip.report.scores import BASELINE, with_seeds
from countclip.report.sheets import COUNT, ONE_DECIMAL, Cell, Sheet

LONGEST = 12
"""Tokens of a caption that is drawn, at most."""
COLUMNS = [
    *("variant", "label", "number", "captions", "share", "share_low", "share_high", "uniform"),
    *("gain", "gain_low", "gain_high", "seeds", "scale"),
]
FORMATS = {
    **dict.fromkeys(["share", "share_low", "share_high", "uniform"], ONE_DECIMAL),
    "captions": COUNT,
}
"""Of each number that the sheet and the figure show."""


def load(path: str, rows: dict[int, int]) -> pd.DataFrame:
    """The shares of `relevancy.measure` for `rows` (countbench.rows_of), with three columns more.

    `number`: of the caption; `share`: of its number word; `uniform`: the share that the word would
    have if all tokens mattered alike.
    """
    table = pd.read_parquet(path)
    table = table[table["index"].isin(rows)].reset_index(drop=True)
    spans = zip(table["shares"], table["first"], table["last"], strict=True)
    return table.assign(
        number=table["index"].map(rows),
        share=[share[first:last].sum() for share, first, last in spans],
        uniform=(table["last"] - table["first"]) / table["tokens"].map(len),
    )


def summarise(table: pd.DataFrame, variants: list[dict[str, str]], scale: str) -> pd.DataFrame:
    """Mean share of the number word in percent, by model and number (and `all`), with COLUMNS.

    table: of `load`. The gain is over the first of `variants`. Seeds are averaged; intervals are
    the bootstrap's over captions (statistics.bootstrap), paired for the gain; nan for a single
    caption.
    """
    by = table.groupby(["number", "index", "variant"])["share"].mean().unstack("variant")
    uniform = table.groupby(["number", "index"])["uniform"].first()
    lines = []
    for number, shares in [("all", by), *by.groupby("number")]:
        means = statistics.means_and_gains(
            100 * shares[[variant["id"] for variant in variants]], "share"
        )
        means = means.assign(
            label=[variant["label"] for variant in variants],
            number=number,
            captions=len(shares),
            uniform=100 * uniform[shares.index].mean(),
            scale=scale,
        )
        lines.append(means.reset_index(names="variant"))
    return with_seeds(lines, table)[COLUMNS]


def sheet(table: pd.DataFrame) -> Sheet:
    """Mean shares of the number word, the numbers side by side."""
    numbers = [str(number) for number in table["number"].unique()]
    texts = pd.DataFrame(sheets.texts(table, FORMATS), table.index)
    texts = texts.assign(number=table["number"].map(str))
    first = texts.drop_duplicates("number").set_index("number")
    uniform = [Cell(first.loc[number, "uniform"]) for number in numbers]
    lines = [[Cell("if all tokens mattered alike"), *uniform]]
    lines += sheets.lines_of_models(table, texts, "share")
    captions = ", ".join(f"{number}: {first.loc[number, 'captions']}" for number in numbers)
    return Sheet(
        "Relevancy: share of the number word in a caption's similarity with its image, in %",
        ["Model", *numbers],
        lines,
        [
            "How much of the similarity the tokens of the number word explain (integrated"
            " gradients), by number.",
            "Mean over the captions, with its 95 % confidence interval (bootstrap over captions)."
            f" Captions: {captions}.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )


def draw(
    shares_path: str,
    *,
    csv_path: str,
    json_path: str,
    svg: str,
    png: str,
    rows: dict[int, int],
    variants: list[dict[str, str]],
    scale: str,
) -> None:
    """Publish the table of `summarise`, its sheet, and a figure of captions and mean shares.

    shares_path: the file of `relevancy.measure`.

    rows: of the benchmark's variant that is counted (countbench.rows_of).
    variants: id and label of the models besides the baseline.
    """
    table = load(shares_path, rows)
    shown = [BASELINE, *variants]
    summary = summarise(table, shown, scale)
    sheets.write_csv(summary, csv_path)
    sheets.write_sheets([sheet(summary)], json_path)
    examples = [_example(of_number) for of_number in _some_numbers(table)]
    width = max(example["tokens"].iloc[0].size for example in examples)
    title = "Share of the number word in a caption's similarity with its image"
    tall, low = len(examples) * (0.3 * len(shown) + 0.65), 0.3 * len(shown) + 0.9
    with drawing(svg, png, scale, max(8.0, 0.75 * width + 3), tall + low + 0.8, title) as figure:
        above, below = figure.subfigures(2, 1, height_ratios=[tall, low])
        panels = above.subplots(len(examples), 1, squeeze=False)[:, 0]
        for axes, example in zip(panels, examples, strict=True):
            _caption(axes, example, shown)
        panels[0].set_title("Share of each token (%), the number word framed", loc="left", pad=10)
        _means(below.subplots(), summary[summary["number"] == "all"])


def _some_numbers(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of the lowest, the middle and the highest number."""
    numbers = sorted(table["number"].unique())
    chosen = dict.fromkeys([numbers[0], numbers[len(numbers) // 2], numbers[-1]])
    return [table[table["number"] == number] for number in chosen]


def _example(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one caption that fits a line: the one with the baseline's median share.

    So the example is typical, not chosen by hand.
    """
    length = table["tokens"].map(len)
    before = table[(table["variant"] == BASELINE["id"]) & (length <= max(LONGEST, length.min()))]
    order = before.sort_values(["share", "index"])["index"]
    return table[table["index"] == order.iloc[len(order) // 2]]


def _caption(axes: Axes, rows: pd.DataFrame, shown: list[dict[str, str]]) -> None:
    """Draw the tokens of a caption, shaded by their share for each model."""
    first = rows.iloc[0]
    shares = np.array(
        [np.mean([*rows.loc[rows["variant"] == model["id"], "shares"]], axis=0) for model in shown]
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
        label.set_fontweight("bold" if column in word else "normal")
    axes.set_yticks(range(len(shown)), [_text(model["label"], 34) for model in shown])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _text(text: str, longest: int = 12) -> str:
    """A stranger's text as a figure shows it: short, and without what does not print."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _means(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the mean share of each model, with its interval and the uniform share."""
    places = np.arange(len(table))[::-1]
    filled = table.fillna({"share_low": table["share"], "share_high": table["share"]})
    errors = [filled["share"] - filled["share_low"], filled["share_high"] - filled["share"]]
    axes.errorbar(
        table["share"], places, xerr=errors, fmt=MARKERS[0], color=INK[1], ecolor=INK[0], capsize=3
    )
    texts = sheets.texts(table, FORMATS)
    for place, share, text in zip(places, table["share"], texts, strict=True):
        axes.annotate(
            text["share"], (share, place), (0, 5), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    uniform = table["uniform"].iloc[0]
    axes.axvline(uniform, color="#555555", linestyle=":", label="if all tokens mattered alike")
    axes.set_yticks(places, [_text(label, 34) for label in table["label"]])
    axes.set_ylim(-0.6, len(table) - 0.3)
    axes.set_xlim(left=0)
    axes.margins(x=0.1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean share of the number word (%), with 95 % interval")
    axes.set_title(f"Mean over {table['captions'].iloc[0]} captions", loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
