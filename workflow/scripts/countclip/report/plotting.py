"""Style of all figures: readable in black and white and by the colour-blind.

The same numbers give the same bytes.
"""

import functools
import logging
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from countclip.report import pages
from countclip.runtime.files import publish

log = logging.getLogger(__name__)

# Okabe and Ito's colours, which stay apart under every colour blindness; darkest first.
INK = ("#000000", "#0072b2", "#d55e00", "#009e73")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
FONT = "DejaVu Sans"
DPI = 150
STYLE = {
    "font.family": FONT,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "countclip",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a $ in a label is a letter
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
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # as `_fall_back` says
            figure.draw_without_rendering()
            _fall_back(figure, svg)
            _settle(figure)
            # Not by `savefig`, which draws once more for each, though the layout is settled.
            for path, save, metadata in (
                (svg, FigureCanvasSVG(figure).print_svg, {"Date": None}),
                (png, FigureCanvasAgg(figure).print_png, {"Software": None}),
            ):
                figure.dpi = DPI  # print_svg leaves another
                with publish(path) as temporary:
                    save(temporary, metadata=metadata)


def _fall_back(figure: Figure, path: str) -> None:
    """Take letters that FONT lacks from other fonts of this machine; log those that none has."""
    texts = figure.findobj(Text)
    letters = {letter for text in texts for letter in text.get_text()}
    printed = {letter for letter in letters if unicodedata.category(letter)[0] not in "CZ"}
    lacking = printed - _letters(findfont(FONT))
    if not lacking:
        return
    families = []
    for font in _other_fonts():
        if found := lacking & _letters(font.fname):
            families.append(font.name)
            lacking -= found
    for text in texts:
        text.set_fontfamily([FONT, *families])
    figure.draw_without_rendering()
    if lacking:
        log.warning(
            "%s: no font of this machine has %s, so boxes stand for it; install a font that has"
            " (such as Noto Sans), or change the label, and draw the figure again",
            path, ", ".join(f"{letter} (U+{ord(letter):04X})" for letter in sorted(lacking)),
        )  # fmt: skip


def _other_fonts() -> list[FontEntry]:
    """Upright fonts beside FONT, those of matplotlib first, since every machine has them."""
    ours = matplotlib.get_data_path()
    fonts = [
        font
        for font in fontManager.ttflist
        if font.style == "normal" and font.weight in (400, "normal", "regular")
        if font.name != FONT and "Last Resort" not in font.name  # which has boxes alone
    ]
    return sorted(fonts, key=lambda font: (not font.fname.startswith(ours), font.name, font.fname))


@functools.cache
def _letters(file: str) -> frozenset[str]:
    """The letters of a font; none of one of bitmaps, which cannot be scaled."""
    font = FT2Font(file)
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()


def _settle(figure: Figure) -> None:
    """Fix the layout of a figure that was drawn, to a millionth of its size.

    The solver's last digits depend on where its variables lie in memory, and the names of an SVG's
    clips depend on these digits.
    """
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), 6))
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6))
