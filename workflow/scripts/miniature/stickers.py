"""Sheets of stickers: pairs of the miniature whose captions share objects, most kinds being rare.

A sheet shows one to four of sixty kinds, a kind as often as Zipf's law has it. Its caption leaves
some of them out, and says what nobody will ask for: colours, paper, rooms. So captions of a batch
often speak of the same things, as in real sets. Pairs are stored as webdataset has them, and the
unseen sheets of one sticker, to classify, as a folder for each kind.
"""

import io
import re
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from countclip.runtime.files import progress, publish, sha256, write_text
from countclip.runtime.resources import HOME
from miniature.scenes import COLOURS, GLYPHS, PATTERNS, STREAMS, TINTS, ground, shade_of, stencil

SHEET_SIZE = 64  # pixels; the images are square
CELL = 16  # pixels, of the grid that stickers lie in
PAIRS = 6000
PER_KIND = 12
"""Sheets of one sticker that each kind is tested on."""
SHARD = 2000  # pairs of a tar
KINDS = {name: glyph for name, glyph in GLYPHS.items() if name != "cross"} | {
    **{"anchor": "⚓", "scissors": "✂", "envelope": "✉", "telephone": "☎", "snowman": "☃"},
    **{"sun": "☀", "cloud": "☁", "moon": "☾", "comet": "☄", "snowflake": "❄"},
    **{"king": "♚", "queen": "♛", "rook": "♜", "bishop": "♝", "knight": "♞", "pawn": "♟"},
    **{"spade": "♠", "diamond": "♦", "skull": "☠", "sword": "⚔", "lightning": "⚡"},
    **{"cup": "☕", "shamrock": "☘", "pencil": "✎", "nib": "✒", "hand": "☛", "wheel": "☸"},
    **{"house": "⌂", "hammer": "⚒", "lily": "⚜", "arrow": "➤", "leaf": "❧", "dice": "⚄"},
    **{"trident": "♆", "ring": "○", "target": "◎", "keyboard": "⌨", "wheelchair": "♿"},
    **{"hexagon": "⬢", "pentagon": "⬟", "pinwheel": "☢", "atom": "⚛", "mouse": "🐭"},
    **{"cow": "🐮", "cat": "🐱", "monkey": "🐵", "key": "⚷", "coffin": "⚰", "urn": "⚱"},
    **{"flask": "⚗", "horseshoe": "Ω"},
}
"""Kind -> glyph. Each name is one that the parser of captions finds (data/objects.py)."""
DESCRIPTIONS = HOME / "resources/miniature/stickers/descriptions.csv"
"""A sentence for each kind that does not name it."""
WITHOUT_ARTICLE = ("dice", "scissors")
TEMPLATES = (
    "{things}",
    "{things} on {pattern} paper",
    "sheet with {things}",
    "drawing of {things}",
    "{things}, for a kitchen wall",
    "card with {things} on {pattern} paper",
    "poster of {things} for a nursery",
    "stock image: {things}",
    "{things} | handmade print",
    "a shirt with {things}",
)


@dataclass(frozen=True)
class Sticker:
    """kind: of KINDS. colour: of COLOURS, and `rgb` its shade here. corner: x, y in pixels."""

    kind: str
    colour: str
    rgb: tuple[int, int, int]
    corner: tuple[int, int]
    size: int


@dataclass(frozen=True)
class Sheet:
    stickers: tuple[Sticker, ...]
    pattern: str
    tint: tuple[int, int, int]
    grain: int


@cache
def by_popularity(stream: str) -> tuple[str, ...]:
    """The kinds from the most popular one on, dealt once for a stream."""
    order = np.random.default_rng([STREAMS[stream], 0]).permutation(sorted(KINDS))
    return tuple(order.tolist())


def lay(kinds: list[str], rng: np.random.Generator) -> Sheet:
    """A sheet with a sticker of each of these kinds, each in a cell of its own."""
    side = SHEET_SIZE // CELL
    stickers = []
    for kind, cell in zip(kinds, rng.choice(side**2, len(kinds), replace=False), strict=True):
        colour, size = str(rng.choice(list(COLOURS))), int(rng.integers(13, 16))
        free = CELL - np.array(stencil(KINDS[kind], size).size)
        x, y = (CELL * np.array(divmod(int(cell), side)) + rng.integers(0, free + 1)).tolist()
        stickers.append(Sticker(kind, colour, shade_of(colour, rng), (x, y), size))
    return Sheet(
        tuple(stickers),
        str(rng.choice(PATTERNS)),
        TINTS[rng.integers(len(TINTS))],
        int(rng.integers(2**31)),
    )


def pair(stream: str, index: int) -> tuple[Sheet, str]:
    """Sheet `index` of a stream, with its caption."""
    rng = np.random.default_rng([STREAMS[stream], 1, index])
    popular = by_popularity(stream)
    weights = 1 / np.arange(1, len(popular) + 1)
    number = rng.choice([1, 2, 3, 4], p=[0.25, 0.35, 0.25, 0.15])
    chosen = rng.choice(len(popular), number, replace=False, p=weights / weights.sum())
    sheet = lay([popular[place] for place in chosen], rng)
    return sheet, caption(sheet, rng)


def caption(sheet: Sheet, rng: np.random.Generator) -> str:
    """A caption that names a sticker with a probability of 0.7, at least one, and so its colour."""
    named = [one for one in sheet.stickers if rng.random() < 0.7]
    named = named or [sheet.stickers[rng.integers(len(sheet.stickers))]]
    things = [
        _phrase(one.kind, one.colour if rng.random() < 0.7 else "")
        for one in (named[place] for place in rng.permutation(len(named)))
    ]
    listed = " and ".join([text for text in (", ".join(things[:-1]), things[-1]) if text])
    return str(rng.choice(TEMPLATES)).format(things=listed, pattern=sheet.pattern)


def _phrase(kind: str, colour: str) -> str:
    text = f"{colour} {kind}".strip()
    article = "an" if text[0] in "aeiou" else "a"
    return text if kind in WITHOUT_ARTICLE else f"{article} {text}"


def single(stream: str, kind: str, index: int) -> Sheet:
    """Sheet `index` with one sticker of a kind; no pair has its seed."""
    place = sorted(KINDS).index(kind)
    return lay([kind], np.random.default_rng([STREAMS[stream], 2, place, index]))


def draw(sheet: Sheet) -> Image.Image:
    """Draw a sheet, SHEET_SIZE x SHEET_SIZE RGB."""
    image = Image.fromarray(ground(sheet.pattern, sheet.tint, sheet.grain, SHEET_SIZE))
    for one in sheet.stickers:
        image.paste(one.rgb, one.corner, stencil(KINDS[one.kind], one.size))
    return image


def vocabulary() -> list[str]:
    """The words of captions, of the sentences that name a kind, and of descriptions."""
    texts = [*TEMPLATES, *KINDS, *COLOURS, *PATTERNS, DESCRIPTIONS.read_text(encoding="utf-8")]
    words = re.findall(r"[a-z]+", " ".join(texts).lower().replace("{pattern}", ""))
    return sorted({*words, "a", "an", "and", "'", ",", ":", "|"} - {"things"})


def make(
    *,
    pair_folder: str | Path,
    test_folder: str | Path,
    digests: str | Path,
    pairs: int = PAIRS,
    stream: str = "stickers",
) -> None:
    """Publish the first pairs of a stream as shards, and PER_KIND unseen sheets of each kind.

    digests: gets the sha256 of each file, which stands for the folders where their times mean
    nothing.
    """
    with publish(pair_folder) as folder:
        folder.mkdir()
        for start in progress(range(0, pairs, SHARD), unit="shard", desc="draw"):
            numbers = range(start, min(start + SHARD, pairs))
            _write_shard(folder / f"{start // SHARD:05}.tar", numbers, stream)
    with publish(test_folder) as folder:
        for kind in KINDS:
            (folder / kind).mkdir(parents=True)
            for index in range(PER_KIND):
                draw(single(stream, kind, index)).save(folder / kind / f"{index:02}.png")
    files = [file for top in (pair_folder, test_folder) for file in Path(top).rglob("*.*")]
    lines = sorted(f"{file.relative_to(Path(digests).parent)}\t{sha256(file)}\n" for file in files)
    write_text("".join(lines), digests)


def _write_shard(path: Path, numbers: range, stream: str) -> None:
    with tarfile.open(path, "w") as tar:
        for number in numbers:
            sheet, text = pair(stream, number)
            body = io.BytesIO()
            draw(sheet).save(body, "JPEG", quality=95, subsampling=0)
            for ending, member in (("jpg", body.getvalue()), ("txt", text.encode())):
                info = tarfile.TarInfo(f"{number:06}.{ending}")
                info.size = len(member)
                tar.addfile(info, io.BytesIO(member))
