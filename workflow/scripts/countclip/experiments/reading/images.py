"""The images of questions at the model's size, in views that cut or keep what stands at the edge.

- centre: CLIP's own view. Of an image that is not square the ends of its longer side are cut off.
- pad: the whole image, with grey beside it, so smaller.
- grid_n: n x n parts, each padded. Neighbours share half, so that a word at a border is whole in
  one of them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from countclip.data.images import MAX_BYTES, Unusable, decode, read_file
from countclip.model.inputs import pack_images
from countclip.runtime.csv_files import raise_problems
from countclip.runtime.files import write_table

VIEWS = ("centre", "pad", "grid_2", "grid_3")
GREY = (128, 128, 128)

Region = tuple[float, float, float, float]
"""x0, y0, x1, y1, as shares of an image's width and height."""


def regions(view: str, width: int, height: int) -> list[Region]:
    """The parts of an image that a view shows, row by row."""
    if view == "centre":
        side = min(width, height)
        x, y = (1 - side / width) / 2, (1 - side / height) / 2
        return [(x, y, 1 - x, 1 - y)]
    n = grid_of(view)
    step = 1 / (n + 1)
    parts = [(0.0, 1.0)] if n == 1 else [(i * step, (i + 2) * step) for i in range(n)]
    return [(x0, y0, x1, y1) for y0, y1 in parts for x0, x1 in parts]


def grid_of(view: str) -> int:
    """n of the n x n parts in which a view shows an image; ValueError for an unknown view."""
    if view not in VIEWS:
        raise ValueError(f"view {view!r}: must be one of {', '.join(VIEWS)}")
    return int(view.removeprefix("grid_")) if view.startswith("grid_") else 1


def views(image: Image.Image, view: str) -> Iterator[Image.Image]:
    """Yield each part of an image that a view shows, as a square of its pixels."""
    if view == "centre":  # CLIP's resizing cuts it
        yield image
        return
    width, height = image.size
    for x0, y0, x1, y1 in regions(view, width, height):
        box = (round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height))
        part = image.crop(box)
        side = max(part.size)
        square = Image.new("RGB", (side, side), GREY)
        square.paste(part, ((side - part.width) // 2, (side - part.height) // 2))
        yield square


def shown(
    box: tuple[float, float, float, float], width: int, height: int, view: str, size: int
) -> tuple[float, float]:
    """How well a view shows a box of OCR: its share inside, and its height in the model's pixels.

    box: x, y, width, height as shares of the image. Of several parts, that which shows most.
    """
    x, y, w, h = box
    best = (0.0, 0.0)
    for x0, y0, x1, y1 in regions(view, width, height):
        across = max(0.0, min(x + w, x1) - max(x, x0)) / w if w > 0 else 0.0
        down = max(0.0, min(y + h, y1) - max(y, y0)) / h if h > 0 else 0.0
        longer = max((x1 - x0) * width, (y1 - y0) * height)
        best = max(best, (across * down, h * height * size / longer))
    return best


def pack(
    images: Iterable[tuple[str, Path | bytes]],
    n: int,
    *,
    size: int,
    view: str,
    images_npy: str | Path,
    sizes_parquet: str | Path,
) -> None:
    """Publish n images as uint8 (n k, size, size, 3), k parts each, and their index, width, height.

    images: name, and file or its bytes. ValueError lists every image that cannot be read; then
    nothing is published.
    """
    sizes: list[tuple[int, int]] = []
    parts = (part for image in _decoded(images, sizes) for part in views(image, view))
    pack_images(parts, n * grid_of(view) ** 2, size, str(images_npy))
    table = pd.DataFrame(sizes, columns=["width", "height"], dtype=np.int32)
    write_table(table.reset_index(), sizes_parquet)


def _decoded(
    images: Iterable[tuple[str, Path | bytes]], sizes: list[tuple[int, int]]
) -> Iterator[Image.Image]:
    problems = []
    for name, stored in images:
        try:
            body = stored if isinstance(stored, bytes) else read_file(stored, MAX_BYTES)
            image = decode(body)
        except Unusable as error:
            problems.append(f"{name}: {error}")
            image = Image.new("RGB", (1, 1))  # so that the others are read
        sizes.append(image.size)
        yield image
    raise_problems("images of the questions", problems)
