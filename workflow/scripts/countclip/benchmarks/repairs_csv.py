"""The format of repairs.csv: columns, and a reader that names every wrong line."""

from pathlib import Path
from typing import Any

from countclip.runtime.csv_files import Columns, read_lines

COLUMNS = ("index", "action", "url", "file", "sha256", "provenance", "license", "reason")
FORMAT = Columns(COLUMNS, only=True, files=("file",))


def read_repairs(path: Path, rows: int, problems: list[str]) -> list[tuple[int, dict[str, Any]]]:
    """Line number and fields of each valid line; other lines add to `problems`.

    rows: of the benchmark's list, the bound of `index`.
    """
    repairs, line_of = [], {}
    for line, fields in read_lines(path, FORMAT, problems):
        try:
            text, action = fields["index"], fields["action"]
            if not text.isdecimal() or int(text) >= rows:
                raise ValueError(f"index {text!r} must be a row of the list, 0 to {rows - 1}")
            index = int(text)
            if index in line_of:
                raise ValueError(f"index {index} was on line {line_of[index]}: keep one of them")
            line_of[index] = line
            if action not in ("replace", "exclude", "accept"):
                raise ValueError(f"action {action!r} must be replace, exclude or accept")
            needed = "provenance" if action == "replace" else "reason"
            if not fields[needed]:
                raise ValueError(f"{action} needs a {needed}: fill in that column")
            if (action == "replace") != (bool(fields["url"]) != bool(fields["file"])):
                raise ValueError("replace needs a url or a file, and only one; others neither")
            repairs.append((line, {**fields, "index": index}))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    return repairs
