"""Retrieval by count: precision at k of queries such as "five dogs", and the first images found.

Chance is the share of right images among a query's candidates: what a random order has on average,
at every k. The best possible precision may be under 1, since fewer than k images may be right.
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

from countclip.benchmarks.retrieval_queries import ALL, OF_NOUN, QUERY, RUN
from countclip.report import pages, sheets, statistics
from countclip.report.plotting import INK, drawing
from countclip.report.scores import BASELINE, with_seeds
from countclip.report.sheets import COUNT, ONE_DECIMAL, Cell, Sheet

log = logging.getLogger(__name__)

COLUMNS = [
    *("variant", "label", "candidates", "number", "k", "queries", "left_out"),
    *("precision", "precision_low", "precision_high", "chance", "ceiling"),
    *("gain", "gain_low", "gain_high", "seeds", "scale"),
]
FORMATS = {
    **dict.fromkeys(["precision", "precision_low", "precision_high"], ONE_DECIMAL),
    **dict.fromkeys(["chance", "ceiling"], ONE_DECIMAL),
    **dict.fromkeys(["queries", "left_out"], COUNT),
}
"""Of each number that the sheets show."""
ACROSS, SIDE = 8, 80
"""Images that the figure shows of a query, and their side in pixels."""
FAINT = {"edgecolor": INK[2], "linewidth": 1, "linestyle": (0, (2, 2))}
CANDIDATES = {
    ALL: "every image of the benchmark.",
    OF_NOUN: "the images whose caption counts the query's noun, the first noun after the number.",
}


def ranked(scores: pd.DataFrame, rows: dict[int, int]) -> pd.DataFrame:
    """The candidates of each query among `rows` (countbench.rows_of), ranked by each model.

    `rank` counts from 0; `right` says whether the number is the query's. Ties count against the
    model: of equally similar images the wrong ones come first.
    """
    table = scores[scores["index"].isin(rows)]
    table = table.assign(right=table["index"].map(rows) == table["number"])
    by = [*RUN, *QUERY]
    order = table.sort_values(
        [*by, "similarity", "right", "index"], ascending=[True] * len(by) + [False, True, True]
    )
    return order.assign(rank=order.groupby(by, sort=False).cumcount())


def precision_at(order: pd.DataFrame, k: int) -> pd.DataFrame:
    """Precision at k of each query, in [0, 1]: columns the variants, `chance` and `ceiling`.

    order: of `ranked`; seeds are averaged. Only queries with more than k candidates, right and
    wrong ones among them, count: the others have the same precision in any order.
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
    """Mean precision by model, kind of candidates, k and number (and `all`), with COLUMNS.

    Shares are in percent; the gain is over the first of `variants`. `left_out` counts the queries
    that have the same precision in any order (`precision_at`). Intervals are the bootstrap's over
    queries (statistics.bootstrap), paired for the gain; nan for a single query.
    """
    order, ids = ranked(scores, rows), [variant["id"] for variant in variants]
    every_query, table = order[QUERY].drop_duplicates(), []
    for k in ks:
        precision = 100 * precision_at(order, k)
        for kind, of_kind in precision.groupby("candidates"):
            all_of_kind = every_query.loc[every_query["candidates"] == kind, "number"]
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
            f"no query has more than {min(ks)} images to choose from, right and wrong ones: set"
            " retrieval.anything, smaller retrieval.k, or counting_set.nouns to another table"
        )
    return with_seeds(table, scores)[COLUMNS]


def tabulate(
    scores: str,
    *,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    rows: dict[int, int],
    variants: list[dict[str, str]],
    k: list[int],
    scale: str,
) -> None:
    """Publish the table of `summarise` as CSV, and its sheets as JSON and Markdown.

    rows: of the benchmark's variant that is counted (countbench.rows_of).
    variants: id and label of the models besides the baseline.
    """
    table = summarise(pd.read_parquet(scores), rows, [BASELINE, *variants], k, scale)
    sheets.write_csv(table, csv_path)
    views = retrieval_sheets(table)
    sheets.write_sheets(views, json_path, markdown_path)
    for view in views:
        log.info("%s", sheets.markdown(view))


def retrieval_sheets(table: pd.DataFrame) -> list[Sheet]:
    """One sheet a kind of candidates and k, the numbers side by side."""
    return [_sheet(kind, k, part) for (kind, k), part in table.groupby(["candidates", "k"])]


def _sheet(kind: str, k: int, table: pd.DataFrame) -> Sheet:
    numbers = [str(number) for number in table["number"].unique()]
    texts = pd.DataFrame(sheets.texts(table, FORMATS), table.index)
    texts = texts.assign(number=table["number"].map(str))
    first = texts.drop_duplicates("number").set_index("number")
    lines = [
        [Cell(title), *(Cell(first.loc[number, column]) for number in numbers)]
        for title, column in (("chance", "chance"), ("best possible", "ceiling"))
    ]
    lines += sheets.lines_of_models(table, texts, "precision")
    queries = ", ".join(f"{number}: {first.loc[number, 'queries']}" for number in numbers)
    return Sheet(
        f"Retrieval by count: precision at {k} in %, {kind}",
        ["Model", *numbers],
        lines,
        [
            "How many of the first images for a query such as “five dogs” show that number."
            f" Candidates: {CANDIDATES[kind]}",
            "Chance is the mean of a random order, best possible the value of a perfect one.",
            "Mean over the queries, with its 95 % confidence interval (bootstrap over queries)."
            f" Queries: {queries}.",
            f"Left out: {first.loc['all', 'left_out']} more queries, which have the same precision"
            f" in any order: at most {k} candidates, or only right or only wrong ones.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )


def draw(
    scores: str,
    images: Iterable[dict[str, Any]],
    *,
    svg: str,
    png: str,
    rows: dict[int, int],
    variants: list[dict[str, str]],
    shown: list[str],
    scale: str,
) -> None:
    """Draw the first images that each model finds for the queries `shown`.

    Frame and sign tell right from wrong ones.
    images: of `store.read_benchmark`. Of several seeds the first is drawn.
    """
    table = pd.read_parquet(scores)
    if unknown := sorted(set(shown) - set(table["query"])):
        some = ", ".join(table["query"].drop_duplicates().head(20))
        raise ValueError(f"retrieval.shown: no query is {', '.join(unknown)}; some are: {some}")
    table = table[table["query"].isin(shown)]
    seeds = table.groupby("variant")["seed"].transform("min")
    order = ranked(table[table["seed"] == seeds], rows)
    order = order[order["rank"] < ACROSS]
    indices = set(order["index"])
    small = {row["index"]: _small(row["image"]) for row in images if row["index"] in indices}
    models = [BASELINE, *variants]
    title = "First images found by a query with a number: ✓ the query's number, ✗ another"
    height = len(shown) * (1.2 * len(models) + 0.3) + 0.7
    with drawing(svg, png, scale, ACROSS + 2, height, title) as figure:
        parts = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
        for part, query in zip(parts, shown, strict=True):
            part.suptitle(f"“{query}”", x=0.01, ha="left", fontsize=10)
            grid = part.subplots(
                len(models), 1 + ACROSS, squeeze=False, width_ratios=[2, *[1] * ACROSS]
            )
            for (left, *line), model in zip(grid, models, strict=True):
                ranks = order[(order["query"] == query) & (order["variant"] == model["id"])]
                label = textwrap.fill(model["label"], 24)
                share = f"{ranks['right'].sum()} of {len(ranks)} right"
                left.text(0, 0.5, f"{label}\n{share}", va="center")
                left.set_axis_off()
                for axes in line:
                    axes.set_axis_off()
                for axes, candidate in zip(line, ranks.to_dict("records"), strict=False):
                    index = candidate["index"]
                    _draw_image(axes, small[index], rows[index], candidate["right"])


def _small(image: Image.Image) -> np.ndarray:
    """The whole image, (SIDE, SIDE, 3), on white where it is no square."""
    return np.asarray(ImageOps.pad(image, (SIDE, SIDE), color="white"))


def _draw_image(axes: Axes, image: np.ndarray, number: int, right: bool) -> None:
    axes.imshow(image, aspect="equal", interpolation="none")  # vector files keep it small
    frame = {"edgecolor": INK[1], "linewidth": 3} if right else FAINT
    axes.add_patch(Rectangle((-0.5, -0.5), SIDE, SIDE, fill=False, clip_on=False, **frame))
    sign, weight = ("✓", "bold") if right else ("✗", "normal")
    axes.set_title(f"{sign} {number}", pad=3, fontweight=weight)
