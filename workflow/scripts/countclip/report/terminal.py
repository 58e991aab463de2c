"""Table 1 in a terminal, as wide as that is, and where to look next.

Use: PYTHONPATH=workflow/scripts python -m countclip.report.terminal
"""

import json
import shutil
import sys
import textwrap
from itertools import zip_longest
from pathlib import Path

TABLE = "results/table1.json"
NEXT = {
    "results/report.html": "one page over the whole run: open this first",
    "results/countbench/audit.html": "what is wrong with which image of the benchmark",
    "results/figures/training_curves.svg": "how each variant learnt",
    "results/figures/class_frequency_main.svg": "how often each number occurs in training",
}
LABEL = 20
"""Least characters of the first column, whose texts wrap."""
GAP = "  "


def lines(sheet: dict, width: int) -> list[str]:
    """The title, and as many of the first columns of a sheet as `width` characters hold.

    sheet: as sheets.write_sheets publishes it.
    """
    texts = [
        [f"{cell['text']} {cell['range']}".strip() + " *" * cell["best"] for cell in row]
        for row in sheet["rows"]
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    widths = [max(w, *map(len, h.split())) for w, h in zip(widths, sheet["headers"], strict=True)]
    shown, rest = [0], width - LABEL
    for column in range(1, len(widths)):
        if widths[column] + len(GAP) > rest:
            break
        rest -= widths[column] + len(GAP)
        shown.append(column)
    widths[0] = min(widths[0], LABEL + max(rest, 0))
    rows = [[row[column] for column in shown] for row in (sheet["headers"], *texts)]
    head, *body = ["\n".join(_row(row, [widths[c] for c in shown])) for row in rows]
    rule = "-" * max(map(len, head.splitlines()))
    title = textwrap.wrap(sheet["title"], width)
    notes = ["* the highest of its column"] if any("*" in text for text in body) else []
    if len(shown) < len(widths):
        notes.append(f"{len(widths) - len(shown)} more columns, and notes: results/table1.md")
    return [*title, "", *head.splitlines(), rule, *"\n".join(body).splitlines(), rule, *notes]


def _row(texts: list[str], widths: list[int]) -> list[str]:
    """A row in as many lines as its longest cell needs: the first column left, numbers right."""
    wrapped = [textwrap.wrap(t, w) or [""] for t, w in zip(texts, widths, strict=True)]
    return [
        GAP.join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]).rstrip()
        for first, *others in zip_longest(*wrapped, fillvalue="")
    ]


def where_next() -> list[str]:
    """Each further result: where it is, or the command that makes it."""
    found = ["Where to look next:"]
    for path, what in NEXT.items():
        place = path if Path(path).is_file() else f"make run TARGET={path}"
        found += [f"  {what}:", f"    {place}"]
    return found


def main() -> None:
    sys.stdout.reconfigure(errors="replace")  # of a terminal without Greek letters
    width = shutil.get_terminal_size((80, 24)).columns
    sheet = json.loads(Path(TABLE).read_text(encoding="utf-8"))[0]
    print("\n".join(["", *lines(sheet, width), "", *where_next()]))


if __name__ == "__main__":
    main()
