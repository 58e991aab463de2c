"""Files of a user: paths as the disk spells them, and files that tables list."""

import os
from collections.abc import Iterator
from pathlib import Path

from countclip.runtime.csv_files import Columns, read_lines
from countclip.runtime.folders import stored
from countclip.runtime.resources import resource
from countclip.settings.common import Config


def on_disk(settings: Config, *keys: str) -> Config:
    """The settings, with paths in the Unicode form that the disk has them in."""
    paths = {key: str(stored(Path(settings[key]))) for key in keys if settings[key] is not None}
    return settings | {key: path for key, path in paths.items() if not path.isascii()}


def files_in_column(table: Path, column: str, folder: Path) -> list[str]:
    """The files in a folder that a column of a user's CSV names; none where there is no CSV.

    What cannot be read, or lies elsewhere, is for the rule to report with its line.
    """
    names = {line[column] for line in table_lines(table, Columns((column,), files=(column,)))}
    files = (stored(folder / name) for name in names)
    top = os.path.abspath(folder)
    return sorted(
        str(file)
        for file in files
        if os.path.isfile(file) and Path(os.path.abspath(file)).is_relative_to(top)
    )


def listed_images(table: str, folder: str) -> list[str]:
    """The images that a user's table lists, to notice one that is replaced.

    None of a table that a rule makes: it is not there yet when this is first called.
    """
    path = Path(resource(table))
    if path.is_relative_to("results"):
        return []
    return files_in_column(path, "image", Path(resource(folder)))


def table_lines(table: str | Path, columns: Columns) -> Iterator[dict[str, str]]:
    """The lines of a person's table, without wrong ones: its rule reports these."""
    try:
        yield from (fields for _, fields in read_lines(table, columns, []))
    except (OSError, ValueError):
        return
