"""Views of an image, which cut or keep what stands at its edge.

- centre: CLIP's own view. Of an image that is not square the ends of its longer side are cut off.
- pad: the whole image, with grey beside it, so smaller.
- grid_n: n x n parts, each padded. Neighbours share half, so that a word at a border is whole in
  one of them.
"""

from collections.abc import Iterator

from PIL import Image

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
