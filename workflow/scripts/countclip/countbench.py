"""What is CountBench? Its list, what a picture of it is, and which of its rows a number counts.

asking.py asks for its links, audit.py judges what came, repairs.py mends it and offers.py suggests
what to mend it with. Nothing is dropped silently: each row keeps its place, with a status.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import imagehash
import numpy as np
import pandas as pd
import pyarrow as pa

from countclip.captions import NUMBERS, word_for
from countclip.files import sha256, write_table
from countclip.pictures import decode

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
PICTURE = ("sha256", "phash", "width", "height", "bytes")
FLAT = 2.0
"""A picture whose grey values (0..255) deviate less than this shows nothing to count."""
REMOVED_SIZES = {(161, 81)}
"""In pixels, of pictures that well-known hosts send in the place of a removed one."""


class Row(NamedTuple):
    """A row of the benchmark's list."""

    index: int
    url: str
    caption: str
    number: int


class Picture(NamedTuple):
    """What is known of a picture; `phash` in hex, 64 bits."""

    sha256: str
    phash: str
    width: int
    height: int
    bytes: int


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


def examine(body: bytes, max_pixels: int, min_side: int) -> tuple[Picture, str, str]:
    """What a picture is, and its status with evidence: `alive`, `too_small` or `placeholder`.

    Unusable if it is none (pictures.decode).
    """
    image = decode(body, max_pixels)
    grey = image.convert("L")
    picture = Picture(sha256(body), str(imagehash.phash(grey)), *image.size, len(body))
    size = f"{image.width} x {image.height} pixels"
    if min(image.size) < min_side:
        return picture, "too_small", size
    if np.asarray(grey).std() < FLAT:
        return picture, "placeholder", "a flat picture"
    if image.size in REMOVED_SIZES:
        return picture, "placeholder", f"{size}, as hosts send for a removed picture"
    return picture, "alive", ""


def apart(a: str, b: str) -> int:
    """By how many of 64 bits two perceptual hashes (hex) differ."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


def write_images(indices: list[int], bodies: list[bytes], path: str) -> None:
    """Publish pictures as they came: index, sha256, image."""
    columns = {
        "index": pa.array(indices, pa.int32()),
        "sha256": [sha256(body) for body in bodies],
        "image": pa.array(bodies, pa.large_binary()),
    }
    write_table(pa.table(columns), path)


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


def per_class(numbers: Any) -> dict[str, int]:
    """How often each number of two to ten occurs."""
    found = Counter(numbers)
    return {str(number): found[number] for number in NUMBERS}
