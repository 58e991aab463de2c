"""Tables for readers, as JSON, Markdown and LaTeX, and exact CSVs for programs."""

import json
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pylatexenc.latexencode import unicode_to_latex

from countclip.report import pages, statistics
from countclip.runtime import files
from countclip.runtime.files import publish

# ---- numbers ----


def write_csv(table: pd.DataFrame, path: str) -> None:
    """Publish a table as CSV: each float in the shortest form that reads back exactly."""
    with publish(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_csv(path: str | Path, **dtypes: str | type) -> pd.DataFrame:
    """A CSV with its floats exactly as written; only empty cells are missing values.

    dtypes: types of some columns, for pandas.
    """
    return pd.read_csv(
        path, dtype=dtypes, keep_default_na=False, na_values=[""], float_precision="round_trip"
    )


# ---- texts ----

Format = Callable[[float], str]
ONE_DECIMAL: Format = "{:.1f}".format
TWO_DECIMALS: Format = "{:.2f}".format
SIGNED: Format = "{:+.2f}".format
COUNT: Format = "{:d}".format


def p_value(p: float) -> str:
    """A p value with two digits, or as many as show on which side of LEVEL it lies."""
    shown = (f"{p:.{digits}g}" for digits in range(2, 18))
    return next(
        text for text in shown if (float(text) < statistics.LEVEL) == (p < statistics.LEVEL)
    )


def texts(table: pd.DataFrame, formats: dict[str, Format]) -> list[dict[str, str]]:
    """Text of each row, by column of `formats`; empty where a value is missing."""
    columns = (
        ["" if pd.isna(value) else text(value) for value in table[name]]
        for name, text in formats.items()
    )
    return [dict(zip(formats, row, strict=True)) for row in zip(*columns, strict=True)]


class Cell(NamedTuple):
    """Text of a cell; `range`: an interval beside it; `best`: the highest of its column."""

    text: str
    range: str = ""
    best: bool = False


def lines_of_models(table: pd.DataFrame, texts: pd.DataFrame, name: str) -> list[list[Cell]]:
    """A line for each model: its label, and the mean `name` of each number with its interval.

    table: rows by variant, then number; of two variants with one label each has a line. texts: of
    its rows (`texts`), with `<name>_low` and `<name>_high`.
    """
    lines = []
    for _, rows in table.groupby("variant", sort=False):
        columns = texts.loc[rows.index, [name, f"{name}_low", f"{name}_high"]]
        cells = [
            Cell(mean, f"[{low}, {high}]" if low else "")
            for mean, low, high in columns.itertuples(index=False)
        ]
        lines.append([Cell(rows["label"].iloc[0]), *cells])
    return lines


@dataclass
class Sheet:
    """A table as people read it, free of markup.

    headers: of the columns, the first of which names the rows; rows: a cell for each header.
    notes: what a reader must know to read the table right.
    stamp: warning of a miniature or partial run.
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


# ---- files ----


def write_sheets(sheets: list[Sheet], json_path: str, markdown_path: str | None = None) -> None:
    """Publish sheets as JSON, a list of objects, and as Markdown, one below the other."""
    files.write_json([_plain(sheet) for sheet in sheets], json_path)
    if markdown_path is not None:
        files.write_text("\n".join(map(markdown, sheets)), markdown_path)


def _plain(sheet: Sheet) -> dict:
    return vars(sheet) | {
        "rows": [[cell._asdict() for cell in row] for row in sheet.rows],
        "stamp": sheet.stamp and sheet.stamp._asdict(),
    }


def read_sheets(json_path: str) -> list[Sheet]:
    """The sheets that `write_sheets` published; ValueError names a file that holds none."""
    try:
        sheets = [
            Sheet(
                sheet["title"],
                sheet["headers"],
                [[Cell(**cell) for cell in row] for row in sheet["rows"]],
                sheet["notes"],
                sheet["stamp"] and pages.Stamp(**sheet["stamp"]),
            )
            for sheet in json.loads(Path(json_path).read_text(encoding="utf-8"))
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{json_path}: not a list of tables ({error!r}); delete it and run again"
        ) from error
    if not sheets:
        raise ValueError(f"{json_path}: not a list of tables; delete it and run again")
    return sheets


def markdown(sheet: Sheet) -> str:
    """A heading, the table with intervals beside their values, and the notes as a list."""
    lines = [f"# {plain_markdown(sheet.title)}", ""]
    lines += [f"**{sheet.stamp.text}**", ""] if sheet.stamp else []
    lines += [
        _line(map(plain_markdown, sheet.headers)),
        "|" + "|".join([":--", *["--:"] * (len(sheet.headers) - 1)]) + "|",
    ]
    for row in sheet.rows:
        cells = [(plain_markdown(f"{cell.text} {cell.range}"), cell.best) for cell in row]
        lines.append(_line(f"**{text}** ▲" if best else text for text, best in cells))
    return "\n".join([*lines, "", *(f"- {plain_markdown(note)}" for note in sheet.notes)]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


# Markup of Markdown and HTML; a `_` inside a word is none, nor is [1, 2].
_MARKUP = re.compile(r"[\\`*<&|]|\](?=[(\[:])|(?<!\w)_|_(?!\w)")


def plain_markdown(text: str) -> str:
    """Text as one line of Markdown, its markup escaped."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def latex(sheet: Sheet, label: str) -> str:
    """A table environment for booktabs, the highest values bold, each interval below its value.

    The notes stand above it as comments, as material for the caption.
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
        lines += _lines([_wrapped(row[0].text, 25), *map(_value, row[1:])])
        lines.append(r"\addlinespace")
    lines[-1:] = [r"\bottomrule", r"\end{tabular}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def _lines(cells: list[list[str]]) -> list[str]:
    """A row of the table, in as many lines as its tallest cell has."""
    return [rf"{' & '.join(line)} \\" for line in zip_longest(*cells, fillvalue="")]


def _value(cell: Cell) -> list[str]:
    """Lines of a cell: its value, and its interval if there is one."""
    lines = [_escaped(_SIGN.sub("−", text)) for text in (cell.text, cell.range)]
    lines[0] = rf"\textbf{{{lines[0]}}}" if cell.best else lines[0]
    return lines if cell.range else lines[:1]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a cell; in braces one that `\\` and the like before it would take for an option."""
    lines = map(_escaped, textwrap.wrap(text, width) or [""])
    return [f"{{{line}}}" if line.startswith(("[", "*")) else line for line in lines]


_SIGN = re.compile(r"(?<!\w)-(?=\d)")  # of a number, and not of its exponent
# What LaTeX shows with its usual fonts: Latin and Greek letters, some signs.
_UNKNOWN = re.compile("[^ -~\xa0-\u0148\u014a-\u017e\u0391-\u03a9\u03b1-\u03c9–—‘’“”„…×→≤≥≈−]")


def _escaped(text: str) -> str:
    """Text as one line of LaTeX, its markup escaped."""
    printable = _UNKNOWN.sub("?", " ".join(text.split()))
    return unicode_to_latex(printable, unknown_char_policy="replace").replace("|", r"{\textbar}")
