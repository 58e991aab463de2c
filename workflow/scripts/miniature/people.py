"""People of the miniature who age: an ordinal set whose labels are seen, and written nowhere.

A figure shows its age by several weak signs, as a face does: the share of its head, stature, girth,
grey and receding hair, a bent back, a cane. Who the person is blurs all of them; size, place, side,
light, clothes, ground and noise change from image to image.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from countclip.runtime.files import progress, publish, sha256
from miniature.scenes import COLOURS, PATTERNS, SIZE, STREAMS, TINTS, ground

Rgb = tuple[int, int, int]

AGES = (1, 80)
PEOPLE = 160
IMAGES = 4
"""Of each person: 640 in all, 8 of an age on average, so that a training takes some ten seconds."""
YEARS = 8
"""Span of a person's ages, so that who is in two parts of a fold tells the age there."""
SKINS = ((244, 208, 178), (226, 178, 140), (190, 136, 98), (140, 94, 66), (96, 64, 48))
HAIRS = ((30, 26, 26), (72, 46, 30), (118, 76, 40), (196, 156, 84), (160, 68, 36))
GREY, WOOD, INK = (222, 222, 226), (96, 60, 30), (20, 20, 20)
FINE = 4  # times SIZE: drawn large and made small, for smooth edges


@dataclass(frozen=True)
class Person:
    """What stays the same from image to image.

    looks: years that the person looks older than others of the same age. stature, girth: factors.
    youngest: age from which the images are.
    """

    skin: Rgb
    hair: Rgb
    looks: float
    stature: float
    girth: float
    youngest: int

    @classmethod
    def of(cls, number: int, stream: str = "people") -> "Person":
        """Person `number` of a stream."""
        rng = np.random.default_rng([STREAMS[stream], number])
        return cls(
            skin=SKINS[rng.integers(len(SKINS))],
            hair=HAIRS[rng.integers(len(HAIRS))],
            looks=float(rng.normal(0, 2.5)),
            stature=float(rng.normal(1, 0.05)),
            girth=float(rng.normal(1, 0.08)),
            youngest=int(rng.integers(AGES[0], AGES[1] - YEARS + 2)),
        )


@dataclass(frozen=True)
class Signs:
    """What shows an age. Lengths are shares of the stature; bend is an angle, grey and bald shares.

    stature: of an adult's.
    """

    stature: float
    head: float
    girth: float
    bend: float
    grey: float
    bald: float
    cane: bool

    @classmethod
    def of(cls, age: float) -> "Signs":
        return cls(
            stature=np.interp(age, (1, 6, 12, 18, 60, 80), (0.48, 0.66, 0.82, 1, 1, 0.94)),
            head=np.interp(age, (1, 6, 12, 18), (0.36, 0.29, 0.24, 0.2)),
            girth=np.interp(age, (1, 8, 20, 62), (0.3, 0.21, 0.17, 0.28)),
            bend=np.radians(np.interp(age, (48, 80), (0, 38))),
            grey=np.interp(age, (28, 70), (0, 1)),
            bald=np.interp(age, (1, 6, 30, 80), (0.3, 0, 0, 0.5)),
            cane=age > 70,
        )


def draw(person: Person, age: int, rng: np.random.Generator) -> Image.Image:
    """Draw a person at an age, SIZE x SIZE RGB; `rng` decides all that is no matter of age."""
    pattern, tint = str(rng.choice(PATTERNS)), TINTS[rng.integers(len(TINTS))]
    image = Image.fromarray(ground(pattern, tint, int(rng.integers(2**31))))
    image = image.resize((FINE * SIZE, FINE * SIZE), Image.Resampling.NEAREST)
    _draw_figure(ImageDraw.Draw(image), person, Signs.of(age + person.looks), rng)
    small = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX), np.float32)
    small += rng.normal(0, rng.uniform(2, 10), small.shape)
    return Image.fromarray(np.clip(small, 0, 255).astype(np.uint8))


def _draw_figure(
    pen: ImageDraw.ImageDraw, person: Person, signs: Signs, rng: np.random.Generator
) -> None:
    """Draw a figure in profile, feet first, of random size, place, side, light and clothes."""
    adult = min(0.93, rng.uniform(0.75, 0.98) * person.stature)
    height = FINE * SIZE * adult * signs.stature
    head, girth = height * signs.head, height * signs.girth * person.girth
    legs, back = 0.45 * (height - head), 0.55 * (height - head)
    side = 1 if rng.random() < 0.5 else -1
    margin = 0.3 * height + girth / 2  # what a bent back or a cane needs to either side
    x = margin + rng.uniform() * max(0, FINE * SIZE - 2 * margin)
    y = FINE * SIZE - rng.uniform(0.15, 0.85) * (FINE * SIZE - height)
    light = rng.uniform(0.8, 1.1)
    shirt, trousers = (COLOURS[str(name)] for name in rng.choice(list(COLOURS), 2))

    def lit(colour: Rgb) -> Rgb:
        return tuple(int(min(255, light * value)) for value in colour)

    def disc(centre: np.ndarray, radius: float, colour: Rgb) -> None:
        pen.ellipse([*(centre - radius), *(centre + radius)], lit(colour))

    def line(start: np.ndarray, end: np.ndarray, width: float, colour: Rgb) -> None:
        pen.line([*start, *end], lit(colour), round(width))

    def upwards(angle: float) -> np.ndarray:
        return np.array([side * np.sin(angle), -np.cos(angle)])

    foot = np.array([x, y])
    hip = foot - (0, legs)
    neck = hip + back * upwards(signs.bend)
    for way in (-1, 1):
        line(hip, foot + (0.32 * way * girth, 0), 0.42 * girth, trousers)
    across = girth / 2 * upwards(signs.bend)[::-1] * (-1, 1)
    corners = (hip - across, hip + across, neck + 0.75 * across, neck - 0.75 * across)
    pen.polygon([tuple(corner) for corner in corners], lit(shirt))
    disc(hip, 0.47 * girth, trousers)
    disc(neck, 0.375 * girth, shirt)
    shoulder = neck + 0.12 * (hip - neck)
    hand = shoulder + 0.75 * back * np.array([0.35 * side, 0.94])
    line(shoulder, hand, 0.22 * girth, person.skin)
    if signs.cane:
        line(hand, np.array([hand[0] + 0.06 * side * height, y]), 0.03 * height, WOOD)
    skull = neck + 0.5 * head * upwards(1.3 * signs.bend)
    pairs = zip(person.hair, GREY, strict=True)
    disc(
        skull,
        0.54 * head,
        tuple((1 - signs.grey) * young + signs.grey * old for young, old in pairs),
    )
    # The face covers the more of the hair, the less hair there is.
    face = skull + 0.5 * head * np.array([0.25 * side, 0.38 - 0.6 * signs.bald])
    disc(face, 0.46 * head, person.skin)
    disc(face + head * np.array([0.2 * side, -0.05]), 0.05 * head, INK)


def make(
    table_csv: str | Path,
    image_folder: str | Path,
    people: int = PEOPLE,
    stream: str = "people",
) -> None:
    """Publish IMAGES images of each of the first `people`, and a table: path, label, group,
    and the image's digest, which stands for the folder where its time means nothing.

    stream: of `scenes.STREAMS`; two share nobody.
    """
    lines = []
    with publish(image_folder) as folder:
        folder.mkdir()
        for number in progress(range(people), unit="person", desc="draw"):
            person = Person.of(number, stream)
            for index in range(IMAGES):
                rng = np.random.default_rng([STREAMS[stream], number, index])
                age = person.youngest + int(rng.integers(YEARS))
                name = f"{number:03}_{index}.png"
                draw(person, age, rng).save(folder / name)
                path = f"{Path(image_folder).name}/{name}"
                lines.append((path, age, f"person {number}", sha256(folder / name)))
    with publish(table_csv) as path, open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [("path", "label", "group", "sha256"), *lines]
        )
