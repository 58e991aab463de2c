"""Composed counting sets: how often a detector counts their images right, and images to look at."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from countclip.data.detections import class_names
from countclip.data.images import decode
from countclip.data.shards import read_images
from countclip.report import pages, sheets, statistics
from countclip.report.plotting import drawing
from countclip.report.sheets import COUNT, ONE_DECIMAL, SIGNED, Cell, Sheet

log = logging.getLogger(__name__)

COLUMNS = [
    *("set", "operation", "number", "n", "right", "right_low", "right_high"),
    *("mean_error", "scale"),
]
FORMATS = {
    "n": COUNT,
    **dict.fromkeys(["right", "right_low", "right_high"], ONE_DECIMAL),
    "mean_error": SIGNED,
}
"""Of each number that the sheet shows."""
ACROSS, SIDE = 8, 112
"""Images that the figure shows of an operation, and their side in pixels."""


def counted(pairs: str, detections: str, confidence: float) -> pd.DataFrame:
    """The composed pairs of a set, with `found`: objects of their class that a detector counts.

    An image that it could not read has none. confidence: lowest score of a detection that counts.
    """
    table = pd.read_parquet(pairs)
    ids = {name: one for one, name in class_names(detections).items()}
    detected = pd.read_parquet(detections).set_index("key")
    found = []
    for key, name in zip(table["key"], table["class_name"], strict=True):
        classes, scores = detected.loc[key, ["class_id", "score"]]
        is_found = classes is not None
        found.append(
            int(((classes == ids[name]) & (scores >= confidence)).sum()) if is_found else 0
        )
    return table.assign(set=Path(pairs).stem, found=found)


def summarise(table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Share of images counted right in percent, with Wilson's interval and COLUMNS.

    Rows: each set, as a whole, by operation, and by number. mean_error: objects found less those
    that are there.
    """
    lines = []
    for name, of_set in table.groupby("set", sort=False):
        parts = [("all", "all", of_set)]
        parts += [(key, "all", part) for key, part in of_set.groupby("operation")]
        parts += [("all", str(key), part) for key, part in of_set.groupby("number_after")]
        for operation, number, part in parts:
            errors = part["found"] - part["number_after"]
            right = float((errors == 0).mean())
            low, high = statistics.wilson(right, len(part))
            lines.append(
                {
                    "set": name,
                    "operation": operation,
                    "number": number,
                    "n": len(part),
                    "right": 100 * right,
                    "right_low": 100 * low,
                    "right_high": 100 * high,
                    "mean_error": errors.mean(),
                    "scale": scale,
                }
            )
    return pd.DataFrame(lines, columns=COLUMNS)


def sheet(table: pd.DataFrame, scale: str) -> Sheet:
    """The shares that are counted right."""
    lines = [
        [
            *(Cell(row[key]) for key in ("set", "operation", "number")),
            Cell(text["n"]),
            Cell(text["right"], f"[{text['right_low']}, {text['right_high']}]"),
            Cell(text["mean_error"]),
        ]
        for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True)
    ]
    return Sheet(
        "Composed images that the detector counts right",
        ["Counting set", "Operation", "Number", "Images", "Right (%)", "Mean error"],
        lines,
        [
            "The detector of the counting set looks at each composed image: right where it finds as"
            " many objects of the class as the image should show. Its sources all were right, since"
            " it chose them.",
            "Brackets hold Wilson's 95 % intervals.",
        ],
        pages.stamp(scale),
    )


def make_check(
    pairs: list[str],
    detections: list[str],
    *,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    confidence: list[float],
    scale: str,
) -> None:
    """Publish how often the detector counts composed images right; lists have an entry a set."""
    sets = [counted(*each) for each in zip(pairs, detections, confidence, strict=True)]
    table = summarise(pd.concat(sets), scale)
    sheets.write_csv(table, csv_path)
    sheets.write_sheets([sheet(table, scale)], json_path, markdown_path)
    for row in table[(table["operation"] == "all") & (table["number"] == "all")].itertuples():
        log.info("%s: the detector counts %.1f %% of %d images right", row.set, row.right, row.n)


def draw(pairs: list[str], manifests: list[str], *, svg: str, png: str, scale: str) -> None:
    """Draw some composed images of each set and operation, each below its source.

    manifests: of the images of all sets and their sources, each named as its part.
    """
    rows = []
    for path in pairs:
        for operation, of_operation in pd.read_parquet(path).groupby("operation"):
            spread = np.linspace(0, len(of_operation) - 1, min(ACROSS, len(of_operation)))
            chosen = of_operation.iloc[spread.astype(int)].to_dict("records")
            rows.append((Path(path).stem, operation, chosen))
    images = _images(manifests, [row for *_, chosen in rows for row in chosen])
    title = "Composed images, each below the one that it was made from"
    with drawing(svg, png, scale, ACROSS + 1.5, 2.5 * len(rows) + 0.7, title) as figure:
        parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, (name, operation, chosen) in zip(parts, rows, strict=True):
            part.suptitle(f"{name}: {operation}", x=0.01, ha="left", fontsize=10)
            grid = part.subplots(2, ACROSS, squeeze=False)
            for axes in grid.flat:
                axes.set_axis_off()
            for (above, below), row in zip(grid.T, chosen, strict=False):
                for axes, number, place in (
                    (above, row["number_before"], (row["source_part"], row["source_key"])),
                    (below, row["number_after"], (row["part"], row["key"])),
                ):
                    axes.imshow(images[place], aspect="equal", interpolation="none")
                    axes.set_title(f"{number}", pad=2, fontsize=8)


def _images(manifests: list[str], rows: list[dict[str, Any]]) -> dict[tuple[str, str], np.ndarray]:
    """The images of composed pairs and of their sources, by part and key, SIDE pixels square."""
    places = {(row["part"], row["key"]) for row in rows}
    places |= {(row["source_part"], row["source_key"]) for row in rows}
    found = {}
    for manifest in manifests:
        name = Path(manifest).stem
        keys = [key for part, key in places if part == name]
        for key, body in read_images(manifest, keys):
            image = ImageOps.pad(decode(body), (SIDE, SIDE), Image.Resampling.BOX, "white")
            found[name, key] = np.asarray(image)
    return found
