"""The format of repairs.csv: columns, and a reader that names every wrong line."""

import csv
import io
from pathlib import Path
from typing import Any

COLUMNS = ("index", "action", "url", "file", "sha256", "provenance", "license", "reason")
"""Of repairs.csv."""


def read_repairs(path: Path, rows: int, problems: list[str]) -> list[tuple[int, dict[str, Any]]]:
    """The lines of repairs.csv that read well, with their numbers; the others' `problems`."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8; save it as CSV UTF-8") from error
    reader = csv.DictReader(io.StringIO(content, newline=""))
    if sorted(reader.fieldnames or ()) != sorted(COLUMNS):
        raise ValueError(f"{path}: the first line must name the columns {','.join(COLUMNS)}")
    repairs, seen = [], {}
    for entry in reader:
        line = reader.line_num
        try:
            if None in entry or None in entry.values():
                raise ValueError(f"must have {len(COLUMNS)} fields; quote a field with a comma")
            entry = {key: value.strip() for key, value in entry.items()}
            text, action = entry["index"], entry["action"]
            if not text.isdecimal() or int(text) >= rows:
                raise ValueError(f"index {text!r} must be a row of the list, 0 to {rows - 1}")
            index = int(text)
            if index in seen:
                raise ValueError(f"index {index} was on line {seen[index]}: keep one of them")
            seen[index] = line
            if action not in ("replace", "exclude", "accept"):
                raise ValueError(f"action {action!r} must be replace, exclude or accept")
            needed = "provenance" if action == "replace" else "reason"
            if not entry[needed]:
                raise ValueError(f"{action} needs a {needed}: fill in that column")
            if (action == "replace") != (bool(entry["url"]) != bool(entry["file"])):
                raise ValueError("replace needs a url or a file, and only one; others neither")
            repairs.append((line, {**entry, "index": index}))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    return repairs
