"""Scenes, the images of the miniature: some objects of one class on a pale ground.

A scene is drawn from a stream (its purpose) and an index. Streams never share a seed, so no
benchmark scene is ever a training scene.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# The fonts of matplotlib, whose import would take a second.
FONTS = Path(find_spec("matplotlib").origin).with_name("mpl-data") / "fonts/ttf"
SIZE = 128  # pixels; the images are square
GAP = 3  # pixels between the boxes of two objects
STREAMS = {
    "laion": 1,
    "countbench": 2,
    "pretraining": 3,
    "detector": 4,
    "detector_test": 5,
    "own_benchmark": 6,
    "retention": 7,
    "development": 8,
    "people": 9,
    "development_people": 10,
    "words": 11,
    "reading_base": 12,
    "signs": 13,
    "stickers": 14,
    "development_stickers": 15,
    "reading_base_test": 20,
}

GLYPHS = {
    "star": "★",
    "heart": "♥",
    "circle": "●",
    "square": "■",
    "triangle": "▲",
    "cross": "✚",
    "flower": "✿",
    "umbrella": "☂",
    "airplane": "✈",
    "flag": "⚑",
}
CLASSES = tuple(GLYPHS)
COLOURS = {
    "red": (212, 36, 40),
    "orange": (240, 128, 16),
    "yellow": (222, 186, 0),
    "green": (36, 148, 60),
    "blue": (36, 84, 208),
    "purple": (128, 52, 172),
    "pink": (238, 98, 168),
    "black": (28, 28, 32),
}
PATTERNS = ("plain", "striped", "dotted", "faded", "grainy")
TINTS = ((250, 246, 236), (236, 244, 250), (238, 248, 238), (248, 238, 248), (238, 238, 238))


def plural(name: str) -> str:
    return name + ("es" if name == "cross" else "s")


@dataclass(frozen=True)
class Object:
    """One object: class, colour (RGB), box of its ink (x0, y0, x1, y1 in pixels)."""

    name: str
    rgb: tuple[int, int, int]
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """`number` objects of class `name`, perhaps with fewer others; `colour` if all share one."""

    name: str
    number: int
    colour: str | None
    pattern: str
    tint: tuple[int, int, int]
    objects: tuple[Object, ...]
    grain: int

    @property
    def boxes(self) -> np.ndarray:
        """(objects, 4) int, x0 y0 x1 y1 in pixels."""
        return np.array([thing.box for thing in self.objects])

    @property
    def labels(self) -> np.ndarray:
        """(objects,) int, indices into CLASSES."""
        return np.array([CLASSES.index(thing.name) for thing in self.objects])


def make(stream: str, index: int, number: int) -> Scene:
    """Scene `index` of a stream, with `number` (1 to 12) objects of its main class."""
    rng = np.random.default_rng([STREAMS[stream], index, number])
    name, *others = rng.permutation(CLASSES).tolist()
    colour = None if rng.random() < 0.2 else str(rng.choice(list(COLOURS)))
    distractors = int(rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.12, 0.08])) if number > 1 else 0
    names = [name] * number
    for _ in range(distractors):
        options = [other for other in others[:2] if names.count(other) < number - 1]
        names += options[:1] if rng.random() < 0.5 else options[-1:]
    while (boxes := _place(names, rng)) is None:
        pass
    objects = tuple(
        Object(
            each,
            shade_of(colour if each == name and colour else rng.choice(list(COLOURS)), rng),
            box,
        )
        for each, box in zip(names, boxes, strict=True)
    )
    assert Counter(names).most_common(1)[0] == (name, number)
    return Scene(
        name=name,
        number=number,
        colour=colour,
        pattern=str(rng.choice(PATTERNS)),
        tint=TINTS[rng.integers(len(TINTS))],
        objects=objects,
        grain=int(rng.integers(2**31)),
    )


def _place(names: list[str], rng: np.random.Generator) -> list[tuple[int, int, int, int]] | None:
    """Boxes at least GAP apart; None if there is no room for the last objects."""
    boxes = np.empty((0, 4), int)
    for name in names:
        width, height = stencil(GLYPHS[name], int(rng.integers(18, 23))).size
        for _ in range(60):
            x, y = rng.integers(2, SIZE - 1 - width), rng.integers(2, SIZE - 1 - height)
            box = np.array([x, y, x + width, y + height])
            separate = (box[:2] >= boxes[:, 2:] + GAP) | (boxes[:, :2] >= box[2:] + GAP)
            if separate.any(axis=1).all():
                boxes = np.vstack([boxes, box])
                break
        else:
            return None
    return [tuple(box) for box in boxes.tolist()]


def shade_of(colour: str, rng: np.random.Generator) -> tuple[int, int, int]:
    jittered = np.clip(np.array(COLOURS[str(colour)]) + rng.integers(-12, 13, 3), 0, 255)
    return tuple(jittered.tolist())


@cache
def stencil(glyph: str, size: int) -> Image.Image:
    """A mask of the glyph's ink, its longer side `size` pixels."""
    font = FONTS / "DejaVuSans.ttf"
    large = Image.new("L", (512, 512))
    ImageDraw.Draw(large).text((100, 50), glyph, 255, ImageFont.truetype(font, 256))
    ink = large.crop(large.getbbox())
    scale = size / max(ink.size)
    return ink.resize((round(ink.width * scale), round(ink.height * scale)), Image.Resampling.BOX)


def draw(scene: Scene) -> Image.Image:
    """Draw a scene, SIZE x SIZE RGB."""
    image = Image.fromarray(ground(scene.pattern, scene.tint, scene.grain))
    for thing in scene.objects:
        x0, y0, x1, y1 = thing.box
        ink = stencil(GLYPHS[thing.name], max(x1 - x0, y1 - y0))
        image.paste(thing.rgb, thing.box, ink)
    return image


def ground(pattern: str, tint: tuple[int, int, int], grain: int, size: int = SIZE) -> np.ndarray:
    """(size, size, 3) uint8: the tint with its pattern and a little noise; grain: its seed."""
    rng = np.random.default_rng(grain)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    period, angle = rng.uniform(8, 20), rng.uniform(0, np.pi)
    across = x * np.cos(angle) + y * np.sin(angle)
    along = y * np.cos(angle) - x * np.sin(angle)
    noise = 3.0
    if pattern == "striped":
        shade = 14 * (np.sin(2 * np.pi * across / period) > 0)
    elif pattern == "dotted":
        shade = 18 * (
            np.sin(2 * np.pi * across / period) * np.sin(2 * np.pi * along / period) > 0.7
        )
    elif pattern == "faded":
        shade = 28 * (across - across.min()) / np.ptp(across)
    else:
        shade = np.zeros_like(across)
        noise = 9.0 if pattern == "grainy" else noise
    ground = np.array(tint) - shade[..., None] + rng.normal(0, noise, (size, size, 1))
    return np.clip(ground, 0, 255).astype(np.uint8)
