"""CountBench: its list, statuses and variants.

check_links.py requests its links and audit.py judges the responses. repair_suggestions.py suggests
replacements, and repairs.py applies those that a person accepts. No row is dropped: each has a
status.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from countclip.data.number_words import NUMBERS, word_for
from countclip.runtime.files import read_json, read_text

STATUSES = {
    "alive": "the link shows an image",
    "moved": "the link redirects to an image",
    "changed": "the image differs from the one in the lock file",
    "placeholder": "the image looks like a placeholder for a removed one",
    "too_small": "the image is too small to count in",
    "undecodable": "the image cannot be decoded, or is too large",
    "not_an_image": "the response is not an image",
    "dead": "the host says that it is gone (404, 410)",
    "forbidden": "the host refuses it",
    "not_allowed": "the host opts out of programs like this one (X-Robots-Tag)",
    "server_error": "the host fails, or gets too many requests",
    "timeout": "the host does not answer in time",
    "dns": "the host's name is unknown",
    "tls": "the host's certificate is not valid",
    "unreachable": "no way to the host, or no address at all",
}
"""Statuses of a link in the audit, usable ones first."""
DECISIONS = {
    "accepted": "a person looked at the image and accepted it",
    "repaired": "a person replaced the image",
    "excluded": "a person excluded the row",
}
"""Statuses that a line of repairs.csv gives to a row, whatever the audit found."""
USABLE = ("alive", "moved")
VARIANTS = {
    "original": "rows whose original link still shows their image",
    "repaired": "rows with a usable or replaced image, without those that a person excluded",
    "intersection": "rows of countbench.intersection that have an image",
}
"""Variants of the benchmark: the rows that a table or figure counts."""


class Row(NamedTuple):
    """A row of the benchmark's list."""

    index: int
    url: str
    caption: str
    number: int


def load(path: str | Path) -> list[Row]:
    """Read the benchmark's list, in the format of CountBench.json; ValueError names a wrong row."""
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f"{path}: must be a list of {{image_url, text, number}}, with a row or more"
        )
    rows = []
    for index, entry in enumerate(entries):
        try:
            row = Row(index, entry["image_url"], entry["text"], entry["number"])
            if not (isinstance(row.url, str) and isinstance(row.caption, str)):
                raise ValueError("image_url and text must be strings")
            if row.number not in NUMBERS:
                raise ValueError(f"number is {row.number!r}, not one of {NUMBERS}")
            word_for(row.caption, row.number)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: row {index}: {error!r}; correct this row") from error
        rows.append(row)
    return rows


def rows_of(variant: str, benchmark: str, intersection: str | None = None) -> dict[int, int]:
    """Index -> number of the rows in a variant of the benchmark, by index.

    intersection: a text file of indices, one a line (# begins a comment), for the variant of that
        name. It may list, for example, the rows that were alive for all models compared.
    """
    columns = ["index", "number", "included", "original", "repaired"]
    table = pd.read_parquet(benchmark, columns=columns)
    if variant == "intersection":
        if intersection is None:
            raise ValueError(
                "countbench.variant is `intersection`, so countbench.intersection must name a list"
            )
        chosen = table["included"] & table["index"].isin(_indices(intersection, len(table)))
    elif variant in VARIANTS:
        chosen = table[variant]
    else:
        raise ValueError(f"countbench.variant: {variant!r} is not one of {', '.join(VARIANTS)}")
    if not chosen.any():
        raise ValueError(f"{benchmark}: no row is left to count in the variant {variant!r}")
    rows = table[chosen].sort_values("index")
    return dict(zip(rows["index"].tolist(), rows["number"].tolist(), strict=True))


def _indices(path: str, rows: int) -> set[int]:
    found = set()
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if text := line.partition("#")[0].strip():
            if not text.isdecimal() or int(text) >= rows:
                raise ValueError(
                    f"{path}: line {number}: {text[:40]!r} is no row of 0 to {rows - 1}; write one"
                    " index a line"
                )
            found.add(int(text))
    return found
