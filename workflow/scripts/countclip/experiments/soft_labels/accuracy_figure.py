"""Figure of the table of targets: top-1 on frequent and on rare classes."""

import numpy as np

from countclip.experiments.soft_labels.scores import THIRDS
from countclip.report import sheets
from countclip.report.plotting import INK, MARKERS, drawing

SHOWN = ("top1", *THIRDS)
NAMES = {"top1": "all classes", "head": "head", "middle": "middle", "tail": "tail"}


def draw(
    table_csv: str, *, svg: str, png: str, scale: str, title: str = "Zero-shot top-1 by frequency"
) -> None:
    """Draw top-1 of each target on all classes and each third of them, a panel a net.

    Bars are the bootstrap's intervals over the images. table_csv: of `table.make_table`.
    """
    table = sheets.read_csv(table_csv)
    nets = [rows for _, rows in table[table["net"].notna()].groupby("net", sort=False)]
    height = 0.6 * max(map(len, nets)) + 1.6
    with drawing(svg, png, scale, 4.6 * len(nets) + 1.2, height, title) as figure:
        grid = figure.subplots(1, len(nets), squeeze=False, sharex=True)[0]
        for axes, rows in zip(grid, nets, strict=True):
            places = np.arange(len(rows), dtype=float)
            for number, name in enumerate(SHOWN):
                value = rows[name].to_numpy()
                errors = np.abs([rows[f"{name}_low"] - value, rows[f"{name}_high"] - value])
                axes.errorbar(
                    value, places + 0.16 * (number - 1.5), xerr=errors, fmt=MARKERS[number],
                    color=INK[number], markersize=5, linewidth=1, label=NAMES[name],
                )  # fmt: skip
            axes.set_yticks(places, rows["label"])
            axes.invert_yaxis()
            axes.set_xlim(0, 100)
            axes.set_xlabel("top-1 (%)")
            axes.set_title(rows["net_label"].iloc[0], loc="left")
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=len(SHOWN))
