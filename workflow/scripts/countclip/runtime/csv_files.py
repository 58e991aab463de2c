"""CSV files that people wrote: UTF-8, a header, wrong lines named.

Marks, ends of lines, blanks around fields, and the empty lines and columns of a spreadsheet do not
matter.
"""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from countclip.runtime.files import check_name, read_text

Row = TypeVar("Row")

LONGEST_FIELD = 131_072
"""Characters of a field, so that a quote left open does not take the rest of a file for one."""
SHOWN = 100
"""Wrong lines that an error shows."""
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}


class Columns(NamedTuple):
    """Columns that a file must have, in any order.

    one_of: columns of which it must have one. only: whether others are refused. files: columns that
    name files. separator: of fields, one of SEPARATORS.
    """

    needed: tuple[str, ...]
    one_of: tuple[str, ...] = ()
    only: bool = False
    files: tuple[str, ...] = ()
    separator: str = ","

    def __str__(self) -> str:
        *names, last = (*self.needed, *filter(None, [" or ".join(self.one_of)]))
        names = f"{', '.join(names)} and {last}" if names else last
        return f"{names}, separated by {SEPARATORS[self.separator]}s"

    def problem(self, header: list[str]) -> str:
        """What is wrong with the header of a file, or ''."""
        lacking = [name for name in self.needed if name not in header]
        if self.one_of and not set(self.one_of) & set(header):
            lacking.append(" or ".join(self.one_of))
        twice = sorted({repr(name) for name in header if header.count(name) > 1})
        others = [repr(name) for name in header if self.only and name not in self.needed]
        found = {"without": lacking, "with two of": twice, "with the unknown": others}
        return "; ".join(f"{word} {', '.join(names)}" for word, names in found.items() if names)


def read_rows(
    path: str | Path, columns: Columns, row_of: Callable[[dict[str, str], int], Row]
) -> list[Row]:
    """What `row_of` makes of the fields and number of each line.

    ValueError lists the wrong lines: also those for which `row_of` raises one.
    """
    rows, problems = [], []
    for line, fields in read_lines(path, columns, problems):
        try:
            rows.append(row_of(fields, line))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    raise_problems(path, problems)
    return rows


def read_lines(
    path: str | Path, columns: Columns, problems: list[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield number and fields of each line; add wrong ones to `problems` as messages.

    The number is that of the first line of a record. ValueError for a file that is no UTF-8 text or
    has another header.
    """
    text = read_text(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    records = _records(text, columns.separator, problems)
    _, header = next(records, (0, []))
    if wrong := columns.problem(header):
        raise ValueError(
            f"{path}: the first line must name the columns {columns}; it is"
            f" {_first_line(text)!r}, {_otherwise_separated(text, columns) or wrong}"
        )
    for number, record in records:
        fields = record[: len(header)] if not any(record[len(header) :]) else record
        if len(fields) != len(header):
            problems.append(
                f"line {number}: must have {len(header)} fields, as the first line; it has"
                f" {len(fields)}; quote a field with a {SEPARATORS[columns.separator]}"
            )
            continue
        line = dict(zip(header, fields, strict=True))
        if wrong := _wrong_field(line, columns.files):
            problems.append(f"line {number}: {wrong}")
        else:
            yield number, line


def _records(text: str, separator: str, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield number and stripped fields of each record that is not empty, the header first."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number, is_header = 1, True
    try:
        for record in reader:
            fields = [field.strip() for field in record]
            if any(fields):
                while is_header and not fields[-1]:
                    del fields[-1]
                yield number, fields
                is_header = False
            number = reader.line_num + 1
    except csv.Error as error:
        problems.append(
            f"after line {number - 1}: {error}; nothing more was read: correct the quotes there"
        )


def _wrong_field(line: dict[str, str], files: tuple[str, ...]) -> str:
    """What is wrong with a field of a line, whatever it is read for; `files`: see Columns."""
    for name, field in line.items():
        if "\0" in field:
            return f"column {name}: {field[:40]!r} has a NUL character; delete it"
        try:
            if name in files:
                check_name(field)
        except ValueError as error:
            return f"column {name}: {error}"
        if len(field) > LONGEST_FIELD:
            size = f"{len(field):,} characters, of at most {LONGEST_FIELD:,}"
            return f"column {name}: field larger than field limit ({size}); close its quotes"
    return ""


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()[:200]


def _otherwise_separated(text: str, columns: Columns) -> str:
    """What separates the fields of a header that would be right but for that, or ''."""
    for separator, name in SEPARATORS.items():
        _, header = next(_records(text, separator, []), (0, []))
        if not columns.problem(header):
            return f"separated by {name}s: save it with {SEPARATORS[columns.separator]}s instead"
    return ""


def raise_problems(path: Path | str, problems: list[str]) -> None:
    """Raise a ValueError with the number of problems of a file and the first ones, if any."""
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        shown = "\n  ".join((*problems[:SHOWN], *more))
        raise ValueError(f"{path}: {len(problems)} wrong\n  {shown}")
