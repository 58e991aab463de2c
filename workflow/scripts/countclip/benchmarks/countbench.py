"""CountBench: its list, statuses and variants.

check_links.py asks for its links, audit.py judges what came, repairs.py mends it and
repair_suggestions.py suggests what to mend it with. No row is dropped silently: each keeps its
place, with a status.
"""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from countclip.data.number_words import NUMBERS, word_for

STATUSES = {
    "alive": "the link shows a picture",
    "moved": "it shows one after a redirect",
    "changed": "it shows another picture than the lock file recorded",
    "placeholder": "it shows a stand-in for a picture that is gone, as it seems",
    "too_small": "the picture is too small to count in",
    "undecodable": "what came is a picture that cannot be read, or too large",
    "not_an_image": "what came is no picture",
    "dead": "the host says that it is gone (404, 410)",
    "forbidden": "the host refuses it",
    "not_allowed": "the host asks programs to leave it alone (X-Robots-Tag)",
    "server_error": "the host fails, or is asked too often",
    "timeout": "the host does not answer in time",
    "dns": "the host's name is unknown",
    "tls": "the host's certificate is not valid",
    "unreachable": "no way to the host, or no address at all",
}
"""What an audit says of a link, the good ones first."""
DECISIONS = {
    "accepted": "a person looked at what the link shows, and it counts",
    "repaired": "a person put another picture in its place",
    "excluded": "a person left it out",
}
"""What a line of repairs.csv makes of a row, whatever the audit said."""
USABLE = ("alive", "moved")
VARIANTS = {
    "original": "rows whose own link still shows their picture",
    "repaired": "rows whose picture is there or was mended, without those that a person excluded",
    "intersection": "rows of a given list, as far as there is a picture",
}
"""Which rows of the benchmark a table or figure counts."""


class Row(NamedTuple):
    """A row of the benchmark's list."""

    index: int
    url: str
    caption: str
    number: int


def load(path: str | Path) -> list[Row]:
    """The benchmark's list, in the format of CountBench.json; ValueError names a wrong row."""
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)
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
    """Index -> number of the rows that a variant of the benchmark counts, by index.

    intersection: a text file of indices, one a line (# begins a comment), for the variant of that
        name: for example the rows that were alive for every model that is compared.
    """
    table = pd.read_parquet(benchmark, columns=["index", "number", "included", *_OF_A_TABLE])
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


_OF_A_TABLE = ("original", "repaired")


def _indices(path: str, rows: int) -> set[int]:
    found = set()
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if text := line.partition("#")[0].strip():
            if not text.isdecimal() or int(text) >= rows:
                raise ValueError(f"{path}: line {number}: {text!r} is no row of 0 to {rows - 1}")
            found.add(int(text))
    return found
