"""Figure of the objects of a caption set: how fast mentions fall with the rank."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
from matplotlib.ticker import FuncFormatter

from countclip.experiments.soft_labels.statistics import UNITS
from countclip.report.plotting import INK, LINES, MARKERS, drawing


def object_ranks(
    objects: dict[str, str], *, svg: str, png: str, label: str, scale: str
) -> dict[str, tuple[int, int]]:
    """Draw the mentions of objects by rank, and where the tail begins; return that point by unit.

    objects: unit -> Parquet of `object_counts.write_objects`.
    """
    tails = {}
    with drawing(svg, png, scale, 6.5, 4.4, f"Objects of captions by rank: {label}") as figure:
        axes = figure.subplots()
        highest = 1
        for place, (unit, path) in enumerate(objects.items()):
            ranks, mentions, tail = rank_curve(path)
            if len(ranks) == 0:
                continue
            highest = max(highest, int(mentions[0]))
            name = f"{UNITS[unit]}: {ranks[-1]:,}, of which {tail:,} are the tail"
            look = {"color": INK[place], "linestyle": LINES[place]}
            if tail:
                first = int(ranks[-1]) - tail + 1
                number = int(mentions[np.searchsorted(ranks, first)])
                tails[unit] = (first, number)
                axes.plot(*tails[unit], color=INK[place], marker=MARKERS[place], linestyle="none")
                look |= {"marker": MARKERS[place], "markevery": [], "markersize": 6}
            axes.plot(ranks, mentions, label=name, **look)
        axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="captions that name the object")
        axes.set_ylim(0.8, 1.5 * highest)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        if axes.lines:
            axes.legend(loc="lower left", title="a marker: the tail begins", alignment="left")
    return tails


def rank_curve(objects_parquet: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Ranks and mentions of the corners of the curve, by rank, and the size of the tail.

    Objects of equal mentions are a step with two corners, so memory is bounded by the number of
    different mentions.
    """
    sizes: Counter[int] = Counter()
    tail = 0
    with pq.ParquetFile(objects_parquet) as file:
        for batch in file.iter_batches(columns=["mentions", "tail"], use_threads=False):
            values, counts = np.unique(batch["mentions"].to_numpy(), return_counts=True)
            sizes.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            tail += batch["tail"].to_numpy(zero_copy_only=False).sum()
    mentions = sorted(sizes, reverse=True)
    last = np.cumsum([sizes[number] for number in mentions], dtype=np.int64)
    first = last - [sizes[number] for number in mentions] + 1
    return np.column_stack([first, last]).ravel(), np.repeat(mentions, 2), int(tail)
