"""Style of all figures: readable in black and white and by the colour-blind.

The same numbers give the same bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from countclip.report import pages
from countclip.runtime.files import publish

# Okabe and Ito's colours, which stay apart under every colour blindness; darkest first.
INK = ("#000000", "#0072b2", "#d55e00", "#009e73")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "countclip",
    "svg.fonttype": "path",
}


@contextmanager
def drawing(
    svg: str, png: str, scale: str, width: float, height: float, title: str
) -> Iterator[Figure]:
    """Yield a figure of `width` x `height` inches; publish it, stamped, as both files."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        yield figure
        if stamp := pages.stamp(scale):
            figure.supxlabel(
                stamp.short,
                fontsize=10,
                color="#7a2e00",
                fontweight="bold",
                bbox={"edgecolor": "#7a2e00", "facecolor": "white", "boxstyle": "round,pad=0.3"},
            )
        _settle(figure)
        for path, metadata in ((svg, {"Date": None}), (png, {"Software": None})):
            with publish(path) as temporary:
                figure.savefig(temporary, metadata=metadata)


def _settle(figure: Figure) -> None:
    """Lay a figure out, to a millionth of its size.

    The solver's last digits depend on where its variables lie in memory, and the names of an SVG's
    clips depend on these digits.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), 6))
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6))
