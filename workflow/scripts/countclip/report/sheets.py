"""How does a table of results look in Markdown, on a page, and in a paper?"""

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import pandas as pd
from pylatexenc.latexencode import unicode_to_latex

from countclip.report import pages
from countclip.runtime.files import publish


class Cell(NamedTuple):
    """What one cell says: `range` is an interval beside the figure, `best` the column's highest."""

    text: str
    range: str = ""
    best: bool = False


@dataclass
class Sheet:
    """A table as people read it; nothing in it is markup.

    headers: of the columns, the first of which names the rows; rows: a cell for each header.
    notes: what a reader must know to read the table right.
    stamp: what the numbers must not be taken for, if anything; the title has its short form.
    """

    title: str
    headers: list[str]
    rows: list[list[Cell]]
    notes: list[str]
    stamp: pages.Stamp | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headers):
                raise ValueError(f"{self.title}: row {row[0].text!r} has {len(row)} cells")


def texts(table: pd.DataFrame) -> pd.DataFrame:
    """The table's cells as text: p values (columns `p_...`) with two digits, other fractions with
    two decimals, nothing for nan."""
    shown = table.copy()
    for column in shown.columns[[pd.api.types.is_float_dtype(kind) for kind in table.dtypes]]:
        how = ".2g" if column.startswith("p_") else ".2f"
        shown[column] = ["" if pd.isna(value) else format(value, how) for value in shown[column]]
    return shown.astype("string").fillna("").astype(object)


def write_csv(table: pd.DataFrame, path: str) -> None:
    """Publish a table as CSV, its cells as `texts` has them."""
    with publish(path) as temporary:
        texts(table).to_csv(temporary, index=False, lineterminator="\n")


def markdown(sheet: Sheet) -> str:
    """A heading, the table with intervals beside their figures, and the notes as a list."""
    lines = [f"# {_shown(sheet.title)}", ""]
    lines += [f"**{sheet.stamp.text}**", ""] if sheet.stamp else []
    lines += [
        _line(map(_shown, sheet.headers)),
        "|" + "|".join([":--", *["--:"] * (len(sheet.headers) - 1)]) + "|",
    ]
    for row in sheet.rows:
        cells = [(_shown(f"{cell.text} {cell.range}"), cell.best) for cell in row]
        lines.append(_line(f"**{text}** ▲" if best else text for text, best in cells))
    return "\n".join([*lines, "", *(f"- {_shown(note)}" for note in sheet.notes)]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


# What Markdown would take for its own or for HTML's; a `_` inside a word is none, nor is [1, 2].
_MARKUP = re.compile(r"[\\`*<&|]|\](?=[(\[:])|(?<!\w)_|_(?!\w)")


def _shown(text: str) -> str:
    """Text as Markdown that shows it: one line, and whatever it holds, no markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _said(markdown: str) -> str:
    """What `_shown` was given, in one line."""
    return re.sub(r"\\(.)", r"\1", markdown)


def read_markdown(text: str) -> list[Sheet]:
    """The tables that `markdown` wrote, one below the other, to be shown again elsewhere; without
    their stamps, which whatever shows them has itself. ValueError where there is none."""
    sheets = []
    for part in re.split(r"(?m)^#+ ", text)[1:]:
        title, *lines = part.splitlines()
        table = [_cells(line) for line in lines if line.startswith("|")]
        if len(table) < 2:
            raise ValueError(f"{title}: no table follows this heading")
        headers, _, *rows = table
        notes = [_said(line.removeprefix("- ")) for line in lines if line.startswith("- ")]
        cells = [list(map(_cell, row)) for row in rows]
        sheets.append(Sheet(_said(title), list(map(_said, headers)), cells, notes))
    if not sheets:
        raise ValueError("no heading, and so no table")
    return sheets


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip() for cell in re.findall(r"(?:\\.|[^\\|])+", inner)]


def _cell(text: str) -> Cell:
    best = text.startswith("**") and text.endswith("** ▲")
    text = text.removeprefix("**").removesuffix("** ▲") if best else text
    figure, bracket, bounds = _said(text).partition(" [")
    return Cell(figure, bracket.strip() + bounds, best)


def page(sheets: list[Sheet], template: str) -> str:
    """A page of one table or more, escaped (pages.render); the first gives it its title."""
    return pages.render(template, styles=["page.css", "table.css"], sheets=sheets)


def latex(sheet: Sheet, label: str) -> str:
    """A table environment for a paper that uses booktabs; the highest figures are bold, and each
    interval stands below its figure.

    The notes stand above it as comments, for whoever writes the caption on.
    """
    needs = r"Needs \usepackage{booktabs}, and for some letters \usepackage[T1]{fontenc}."
    lines = [f"% {' '.join(note.split())}" for note in (needs, *sheet.notes)]
    lines += [
        r"\begin{table*}",
        r"\centering\scriptsize\setlength{\tabcolsep}{2.5pt}\setlength{\belowcaptionskip}{6pt}",
        rf"\caption{{{_escaped(sheet.title)}.}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(sheet.headers) - 1)}}}",
        r"\toprule",
        *_lines([_wrapped(header, 13) for header in sheet.headers]),
        r"\midrule",
    ]
    for row in sheet.rows:
        lines += _lines([_wrapped(row[0].text, 25), *map(_figure, row[1:])])
        lines.append(r"\addlinespace")
    lines[-1:] = [r"\bottomrule", r"\end{tabular}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def _lines(cells: list[list[str]]) -> list[str]:
    """A row of the table, in as many lines as its tallest cell has."""
    return [rf"{' & '.join(line)} \\" for line in zip_longest(*cells, fillvalue="")]


def _figure(cell: Cell) -> list[str]:
    shown = [_escaped(_SIGN.sub("−", text)) for text in (cell.text, cell.range)]
    shown[0] = rf"\textbf{{{shown[0]}}}" if cell.best else shown[0]
    return shown if cell.range else shown[:1]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a cell; in braces one that `\\` and the like before it would take for an option."""
    lines = map(_escaped, textwrap.wrap(text, width) or [""])
    return [f"{{{line}}}" if line.startswith(("[", "*")) else line for line in lines]


_SIGN = re.compile(r"(?<!\w)-(?=\d)")  # of a number, and not of its exponent
# What LaTeX shows with its usual fonts: Latin and Greek letters, some signs.
_UNKNOWN = re.compile("[^ -~\xa0-\u0148\u014a-\u017e\u0391-\u03a9\u03b1-\u03c9–—‘’“”„…×→≤≥≈−]")


def _escaped(text: str) -> str:
    """Text as LaTeX that shows it: one line, and whatever it holds, no command of its own."""
    known = _UNKNOWN.sub("?", " ".join(text.split()))
    return unicode_to_latex(known, unknown_char_policy="replace").replace("|", r"{\textbar}")
