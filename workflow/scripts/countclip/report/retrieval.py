"""How many of the first pictures for "five dogs" show five? Precision at k, and the pictures.

Chance is the share of right ones among a query's candidates: what a random order has on average, at
every k. The best possible precision may be under 1, since fewer than k pictures may be right.
"""

import logging
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps

from countclip.benchmarks.retrieval_queries import ALL, NAMED, QUERY, RUN
from countclip.report import pages, sheets, statistics
from countclip.report.plotting import INK, drawing
from countclip.report.scores import BASELINE, with_seeds
from countclip.report.sheets import Cell, Sheet
from countclip.runtime.files import write_text

log = logging.getLogger(__name__)

COLUMNS = [
    *("variant", "label", "candidates", "number", "k", "queries", "left_out"),
    *("precision", "precision_low", "precision_high", "chance", "ceiling"),
    *("gain", "gain_low", "gain_high", "seeds", "scale"),
]
ACROSS, SIDE = 8, 80
"""Pictures that the figure shows of a query, and their side in pixels."""
FAINT = {"edgecolor": INK[2], "linewidth": 1, "linestyle": (0, (2, 2))}
CANDIDATES = {
    ALL: "every picture of the benchmark.",
    NAMED: "the pictures whose caption counts the query's noun: names it first behind its number.",
}


def ranked(scores: pd.DataFrame, rows: dict[int, int]) -> pd.DataFrame:
    """The candidates of each query among `rows` (countbench.rows_of) in the order that each model
    gives them: `rank` from 0, and `right`, whether the number is the query's.

    Of equally similar pictures wrong ones come first, so that a tie helps nobody.
    """
    table = scores[scores["index"].isin(rows)]
    table = table.assign(right=table["index"].map(rows) == table["number"])
    by = [*RUN, *QUERY]
    order = table.sort_values(
        [*by, "similarity", "right", "index"], ascending=[True] * len(by) + [False, True, True]
    )
    return order.assign(rank=order.groupby(by, sort=False).cumcount())


def precision_at(order: pd.DataFrame, k: int) -> pd.DataFrame:
    """Precision at k of each query, its seeds averaged: one row a query, columns the variants and
    `chance` and `ceiling`; shares in [0, 1].

    order: of `ranked`. A query counts that has more than k candidates and among them right and
    wrong ones: others have one precision whatever the order.
    """
    hits = order.assign(hit=order["right"] & (order["rank"] < k)).groupby([*RUN, *QUERY])
    runs = hits.agg(
        hits=("hit", "sum"), chance=("right", "mean"), right=("right", "sum"), n=("right", "size")
    )
    runs["precision"] = runs["hits"] / k
    runs["ceiling"] = runs["right"].clip(upper=k) / k
    runs = runs[(runs["n"] > k) & runs["chance"].between(0, 1, inclusive="neither")]
    precision = runs.groupby(["variant", *QUERY])["precision"].mean().unstack("variant")
    return precision.join(runs.groupby(QUERY)[["chance", "ceiling"]].first())


def summarise(
    scores: pd.DataFrame,
    rows: dict[int, int],
    variants: list[dict[str, str]],
    ks: list[int],
    scale: str,
) -> pd.DataFrame:
    """The table with COLUMNS: of each model, kind of candidates, k and number (and `all`) the mean
    over the queries, shares in percent, and the gain over the first of `variants`. `left_out` are
    the queries that have one precision whatever the order (`precision_at`).

    Intervals are the bootstrap's over queries (statistics.bootstrap), paired for the gain; there
    is none of a single query.
    """
    order, ids = ranked(scores, rows), [variant["id"] for variant in variants]
    asked, table = order[QUERY].drop_duplicates(), []
    for k in ks:
        precision = 100 * precision_at(order, k)
        for kind, of_kind in precision.groupby("candidates"):
            all_of_kind = asked.loc[asked["candidates"] == kind, "number"]
            for number, queries in [("all", of_kind), *of_kind.groupby("number")]:
                among = len(all_of_kind) if number == "all" else (all_of_kind == number).sum()
                lines = statistics.means_and_gains(queries[ids], "precision")
                lines = lines.assign(
                    label=[variant["label"] for variant in variants],
                    candidates=kind,
                    number=number,
                    k=k,
                    queries=len(queries),
                    left_out=among - len(queries),
                    chance=queries["chance"].mean(),
                    ceiling=queries["ceiling"].mean(),
                    scale=scale,
                )
                table.append(lines.reset_index(names="variant"))
    if not table:
        raise ValueError(
            f"no query has more than {min(ks)} pictures to choose from, right and wrong ones: set"
            " retrieval.anything, smaller retrieval.k, or counting_set.nouns to another table"
        )
    return with_seeds(table, scores)[COLUMNS]


def tabulate(
    scores: str,
    csv: str,
    markdown: str,
    *,
    rows: dict[int, int],
    variants: list[dict[str, str]],
    k: list[int],
    scale: str,
) -> None:
    """Publish the table of `summarise` as CSV, and as Markdown with the numbers side by side.

    rows: of the benchmark's variant that is counted (countbench.rows_of).
    variants: id and label of the models besides the baseline.
    """
    table = summarise(pd.read_parquet(scores), rows, [BASELINE, *variants], k, scale)
    sheets.write_csv(table, csv)
    text = "\n".join(
        sheets.markdown(_sheet(kind, at, part))
        for (kind, at), part in table.groupby(["candidates", "k"])
    )
    write_text(text, markdown)
    log.info("%s", text)


def _sheet(kind: str, k: int, table: pd.DataFrame) -> Sheet:
    numbers = table["number"].unique()
    first = table.drop_duplicates("number").set_index("number")
    rows = [
        [Cell(name), *(Cell(f"{first.loc[number, column]:.1f}") for number in numbers)]
        for name, column in (("chance", "chance"), ("best possible", "ceiling"))
    ]
    for _, own in table.groupby("variant", sort=False):  # two may have one label
        cells = [
            Cell(
                f"{row.precision:.1f}",
                "" if np.isnan(row.precision_low)
                else f"[{row.precision_low:.1f}, {row.precision_high:.1f}]",
            )
            for row in own.itertuples()
        ]  # fmt: skip
        rows.append([Cell(own["label"].iloc[0]), *cells])
    queries = ", ".join(f"{number}: {first.loc[number, 'queries']}" for number in numbers)
    return Sheet(
        f"Retrieval by count: precision at {k} in %, {kind}",
        ["Model", *map(str, numbers)],
        rows,
        [
            "How many of the first pictures for a query such as “five dogs” show that number."
            " Candidates: " + CANDIDATES[kind],
            "Chance is what a random order has on average, best possible what a perfect one has.",
            f"Mean over the queries, with its 95 % interval (bootstrap over queries): {queries}.",
            f"Left out are {first.loc['all', 'left_out']} more queries, which have one precision in"
            f" whatever order: at most {k} candidates, or right ones or wrong ones alone.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )


def draw(
    scores: str,
    pictures: Iterable[dict[str, Any]],
    svg: str,
    png: str,
    *,
    rows: dict[int, int],
    variants: list[dict[str, str]],
    shown: list[str],
    scale: str,
) -> None:
    """The first pictures that each model finds for the queries `shown`, right and wrong ones apart
    by frame and sign.

    pictures: of `store.read_benchmark`. Of several seeds the first is drawn.
    """
    table = pd.read_parquet(scores)
    if unknown := sorted(set(shown) - set(table["query"])):
        known = ", ".join(table["query"].drop_duplicates().head(20))
        raise ValueError(f"retrieval.shown: no query is {', '.join(unknown)}; some are: {known}")
    table = table[table["query"].isin(shown)]
    seeds = table.groupby("variant")["seed"].transform("min")
    order = ranked(table[table["seed"] == seeds], rows)
    order = order[order["rank"] < ACROSS]
    found = set(order["index"])
    small = {row["index"]: _small(row["image"]) for row in pictures if row["index"] in found}
    models = [BASELINE, *variants]
    title = "What a query by count finds first: ✓ the number asked for, ✗ another one"
    height = len(shown) * (1.2 * len(models) + 0.3) + 0.7
    with drawing(svg, png, scale, ACROSS + 2, height, title) as figure:
        parts = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
        for part, query in zip(parts, shown, strict=True):
            part.suptitle(f"“{query}”", x=0.01, ha="left", fontsize=10).set_parse_math(False)
            grid = part.subplots(
                len(models), 1 + ACROSS, squeeze=False, width_ratios=[2, *[1] * ACROSS]
            )
            for (left, *line), model in zip(grid, models, strict=True):
                own = order[(order["query"] == query) & (order["variant"] == model["id"])]
                label = textwrap.fill(model["label"], 24)
                share = f"{own['right'].sum()} of {len(own)} right"
                left.text(0, 0.5, f"{label}\n{share}", va="center", parse_math=False)
                left.set_axis_off()
                for axes in line:
                    axes.set_axis_off()
                for axes, picture in zip(line, own.to_dict("records"), strict=False):
                    index = picture["index"]
                    _picture(axes, small[index], rows[index], picture["right"])


def _small(image: Image.Image) -> np.ndarray:
    """The whole picture, (SIDE, SIDE, 3), on white where it is no square."""
    return np.asarray(ImageOps.pad(image, (SIDE, SIDE), color="white"))


def _picture(axes: Axes, image: np.ndarray, number: int, right: bool) -> None:
    axes.imshow(image, aspect="equal", interpolation="none")  # vector files keep it small
    frame = {"edgecolor": INK[1], "linewidth": 3} if right else FAINT
    axes.add_patch(Rectangle((-0.5, -0.5), SIDE, SIDE, fill=False, clip_on=False, **frame))
    sign, weight = ("✓", "bold") if right else ("✗", "normal")
    axes.set_title(f"{sign} {number}", pad=3, fontweight=weight)
