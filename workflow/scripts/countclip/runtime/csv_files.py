"""CSV files written by people: UTF-8, a header, problems reported by line."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path


def read_lines(
    path: Path, *, columns: str, has_columns: Callable[[list[str]], bool], problems: list[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield number and fields of each line; add wrong ones to `problems` as messages.

    columns: the columns as a message names them. has_columns: whether a header has them.
    ValueError for a file that is not UTF-8 or has another header.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8; save it as CSV UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if not has_columns(list(reader.fieldnames or ())):
            raise ValueError(
                f"{path}: the first line must name the columns {columns}, separated by commas;"
                f" it is {text.partition(chr(10))[0].strip()[:200]!r}"
            )
        for fields in reader:
            if None in fields or None in fields.values():
                problems.append(
                    f"line {reader.line_num}: must have {len(reader.fieldnames)} fields, as the"
                    " first line; quote a field with a comma"
                )
            else:
                yield reader.line_num, fields
    except csv.Error as error:
        problems.append(f"after line {reader.line_num}: {error}; nothing more was read")


def raise_problems(path: Path | str, problems: list[str]) -> None:
    """Raise a ValueError that lists all problems of a file, if there are any."""
    if problems:
        raise ValueError(f"{path}: {len(problems)} wrong\n  " + "\n  ".join(problems))
