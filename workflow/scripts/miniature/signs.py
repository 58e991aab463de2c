"""Signs of the miniature: scenes with words to read, and questions in TextVQA's form.

A scene shows one to three signs on a ground, and is wider than high. A sign is a light board with
a coloured frame and a dark word. Its face, size, slant, light and place change, and some stand
where CLIP's centre crop cuts. Where there are several, only the question tells which is meant.

Words begin near the corners of a grid, which a small model's patches meet at half the size. With
words anywhere, and light ones too, such a model learnt to read in no time that a laptop has.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from countclip.runtime.files import progress, publish, write_text
from countclip.runtime.resources import resource
from miniature.scenes import COLOURS, FONTS, PATTERNS, STREAMS, TINTS, ground

Rgb = tuple[int, int, int]

WIDTH, HEIGHT = 168, 128
GAP = 2  # pixels between two signs
MARGIN, FRAME = 6, 3  # of a board around its word, in pixels
GRID, ORIGIN, JITTER = 16, (4, 0), 2
"""Pixels between the corners where words begin, the first corner, and how far a word may be off."""
LAYOUTS = 10  # that are tried to find room for all signs of a scene
WORDS = "resources/miniature/words.csv"
KINDS = ("sign", "seen", "unseen", "pseudo")
"""Words on the signs of the questions; those that only the reading base has seen too; words that
nothing has seen; and pseudo words."""
FACES = {
    "seen": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono-Bold", "DejaVuSerif-Bold",
             "STIXGeneralBol", "cmss10"),
    "unseen": ("DejaVuSans-BoldOblique", "DejaVuSerif-BoldItalic", "STIXGeneral", "cmtt10"),
}  # fmt: skip
"""Faces of matplotlib's fonts. No training shows an unseen one."""
TEXT_SIZES = (22, 32)
"""Size of the type in pixels of the image: letters of 8 to 12 pixels at half its height."""
SLANT = 5.0  # degrees to either side, at most
INK = (24, 24, 28)
PLACES = tuple((pattern, tint) for pattern in PATTERNS for tint in TINTS)
"""Kinds of places, by the ground that they show."""
AT_HOME = 0.7
"""Share of words that stand where they mostly do, as "fresh" does at a grocer's."""
BOARDS = COLOURS | {"white": (252, 252, 248)}
"""Colours of frames. White ones are in easy scenes alone."""
SPLITS = {"train": "train", "validation": "val"}
"""Splits and what TextVQA calls them in its files."""
QUESTIONS = {
    "one": ("what does the sign say?", "what is written on the sign?", "what word is this?"),
    "colour": ("what does the {colour} sign say?", "what is written on the {colour} sign?"),
    "side": ("which word is on the {side}?", "what does the sign on the {side} say?"),
    "is_it": ("does the sign say {word}?", "is this the word {word}?"),
    "colour_of": ("what colour is the sign that says {word}?",),
}
ANSWERS = 10


class Difficulty(NamedTuple):
    """What varies, from nothing (0) to all (1), in a training that begins easy.

    look: colours of frames and boards, faces and sizes. place: where a sign stands, and its slant.
    signs: at most.
    """

    look: float = 1.0
    place: float = 1.0
    signs: int = 3


@dataclass(frozen=True)
class Sign:
    """A board with a word. x, y: its centre in pixels; slant in degrees, box: x, y, width, height
    of its ink as shares of the image. colour: of its frame, in words."""

    word: str
    colour: str
    frame: Rgb
    board: Rgb
    face: str
    size: int
    slant: float
    x: int
    y: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Scene:
    """Signs from left to right on a ground; grain: seed of the ground and of the noise."""

    signs: tuple[Sign, ...]
    pattern: str
    tint: Rgb
    grain: int


@cache
def words(kind: str) -> tuple[str, ...]:
    """The words of one of KINDS, by text."""
    with open(resource(WORDS), encoding="utf-8", newline="") as file:
        return tuple(row["word"] for row in csv.DictReader(file) if row["kind"] == kind)


# ---- scenes ----


def make(
    chosen: list[str],
    rng: np.random.Generator,
    faces: str = "seen",
    difficulty: Difficulty = Difficulty(),  # noqa: B008
    place_kind: int | None = None,
) -> Scene:
    """A scene with the words `chosen` on signs of different colours, as many as find room.

    place_kind: of PLACES, which its ground shows; any by default.
    """
    look, place, _ = difficulty
    colours = [str(one) for one in rng.permutation([*COLOURS])]
    signs: list[Sign] = []
    for _ in range(LAYOUTS):
        laid: list[Sign] = []
        for word, colour in zip(chosen, colours, strict=False):
            for _ in range(20):
                sign = _sign(word, colour, faces, look, place, rng)
                if sign is not None and all(_apart(sign, other) for other in laid):
                    laid.append(sign)
                    break
        signs = max(signs, laid, key=len)
        if len(signs) == len(chosen):
            break
    pattern, tint = PLACES[rng.integers(len(PLACES)) if place_kind is None else place_kind]
    return Scene(
        signs=tuple(sorted(signs, key=lambda sign: sign.x)),
        pattern=pattern,
        tint=tint,
        grain=int(rng.integers(2**31)),
    )


def _sign(
    word: str, colour: str, faces: str, look: float, place: float, rng: np.random.Generator
) -> Sign | None:
    """A sign at random; None where it does not fit into the image."""
    names = FACES[faces]
    face = names[rng.integers(max(1, round(look * len(names))))]
    low, high = TEXT_SIZES
    size = int(rng.integers(high - round(look * (high - low)), high + 1))
    slant = float(place * rng.uniform(-SLANT, SLANT))
    frame = BOARDS[colour] if rng.random() < look else BOARDS["white"]
    if frame == BOARDS["white"]:
        colour = "white"
    frame = np.clip(np.array(frame) + rng.integers(-14, 15, 3), 0, 255)
    board = 250 - look * rng.uniform(0, 40, 3)
    mask = _text(word, face, size)
    width, height = _turned(mask.width, mask.height, slant)
    if width > WIDTH - 4 or height > HEIGHT - 4:
        return None
    x, y = (
        int(rng.integers(extent / 2 + 2, whole - extent / 2 - 1))
        for extent, whole in ((width, WIDTH), (height, HEIGHT))
    )
    x, y = WIDTH / 2 + place * (x - WIDTH / 2), HEIGHT / 2 + place * (y - HEIGHT / 2)
    x, y = (
        round(_on_grid(middle - extent / 2, origin, whole - extent) + extent / 2
              + rng.integers(-JITTER, JITTER + 1) * place)
        for middle, extent, origin, whole in zip(
            (x, y), (width, height), ORIGIN, (WIDTH, HEIGHT), strict=True
        )
    )  # fmt: skip
    box = ((x - width / 2) / WIDTH, (y - height / 2) / HEIGHT, width / WIDTH, height / HEIGHT)
    return Sign(
        word, colour, tuple(frame.tolist()), tuple(board.astype(int).tolist()), face, size, slant,
        x, y, box,
    )  # fmt: skip


def _on_grid(start: float, origin: int, last: float) -> float:
    """The corner of the grid that is nearest to `start`, between 2 and `last` - 2 pixels."""
    corner = origin + GRID * round((start - origin) / GRID)
    return float(min(max(corner, 2), last - 2))


def _turned(width: float, height: float, slant: float) -> tuple[float, float]:
    """Width and height that a rectangle covers when it is turned."""
    sine, cosine = abs(np.sin(np.radians(slant))), abs(np.cos(np.radians(slant)))
    return float(width * cosine + height * sine), float(width * sine + height * cosine)


def _apart(one: Sign, other: Sign) -> bool:
    (x, y, w, h), (u, v, s, t) = one.box, other.box
    across, down = (GAP + 2 * MARGIN) / WIDTH, (GAP + 2 * MARGIN) / HEIGHT
    return x > u + s + across or u > x + w + across or y > v + t + down or v > y + h + down


@cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    # Raqm may be there or not, and lays letters out in another way.
    return ImageFont.truetype(FONTS / f"{face}.ttf", size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _text(word: str, face: str, size: int) -> Image.Image:
    """A mask of the word's ink in capitals, which stand on one line."""
    font = _font(face, size)
    mask = Image.new("L", (8 * size, 2 * size))
    ImageDraw.Draw(mask).text((size // 2, size // 3), word.upper(), 255, font)
    return mask.crop(mask.getbbox())


def draw(scene: Scene) -> Image.Image:
    """Draw a scene, WIDTH x HEIGHT RGB."""
    image = Image.fromarray(ground(scene.pattern, scene.tint, scene.grain))
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    for sign in scene.signs:
        mask = _text(sign.word, sign.face, sign.size)
        size = (mask.width + 2 * MARGIN, mask.height + 2 * MARGIN)
        board = Image.new("RGB", size, sign.frame)
        board.paste(sign.board, (FRAME, FRAME, size[0] - FRAME, size[1] - FRAME))
        board.paste(INK, (MARGIN, MARGIN), mask)
        cover = Image.new("L", board.size, 255)
        turned, cover = (
            one.rotate(sign.slant, Image.Resampling.BICUBIC, expand=True) for one in (board, cover)
        )
        image.paste(turned, (sign.x - turned.width // 2, sign.y - turned.height // 2), cover)
    rng = np.random.default_rng([scene.grain, 1])
    pixels = np.asarray(image, np.float32) * rng.uniform(0.82, 1.06)
    pixels += rng.normal(0, rng.uniform(1, 8), (HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


# ---- questions ----


def scene_of(split: str, number: int) -> Scene:
    """Scene `number` of a split of the question set.

    Words come with different frequencies, as on streets, and mostly at one kind of place. So who
    cannot read may still guess from the ground, and similar images have similar answers.
    """
    rng = np.random.default_rng([STREAMS["signs"], list(SPLITS).index(split), number])
    every = words("sign")
    order = np.random.default_rng([STREAMS["signs"], 9]).permutation(len(every))
    weights = 1 / (order + 20.0)
    n = int(rng.choice((1, 2, 3), p=(0.4, 0.4, 0.2)))
    kind = int(rng.integers(len(PLACES)))
    here = weights * (order % len(PLACES) == kind)
    weights = AT_HOME * here / here.sum() + (1 - AT_HOME) * weights / weights.sum()
    chosen = rng.choice(len(every), n, replace=False, p=weights)
    return make([every[place] for place in chosen], rng, difficulty=Difficulty(place=0.8),
                place_kind=kind)  # fmt: skip


def questions_of(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """One or two questions on a scene, each with the right answer."""
    signs = scene.signs
    several = len(signs) > 1
    asked: list[tuple[str, str]] = []
    for _ in range(2 if rng.random() < 0.58 else 1):  # as TextVQA has it
        sign = signs[rng.integers(len(signs))]
        kind = str(
            rng.choice(
                ("colour", "side", "is_it", "colour_of") if several else ("one", "is_it"),
                p=(0.5, 0.3, 0.1, 0.1) if several else (0.86, 0.14),
            )
        )
        place = {"colour": sign.colour, "word": sign.word}
        answer = sign.word
        if kind == "side":
            sign, place["side"] = ((signs[0], "left"), (signs[-1], "right"))[rng.integers(2)]
            answer = sign.word
        elif kind == "is_it":
            answer = "yes" if rng.random() < 0.6 else "no"
            if answer == "no":
                shown = {one.word for one in signs}
                others = [word for word in words("sign") if word not in shown]
                place["word"] = others[rng.integers(len(others))]
            elif several:
                place["word"] = signs[rng.integers(len(signs))].word
        elif kind == "colour_of":
            answer = sign.colour
        wordings = QUESTIONS[kind]
        if kind == "is_it" and several:
            wordings = ("does one of the signs say {word}?",)
        text = wordings[rng.integers(len(wordings))].format(**place)
        if text not in [question for question, _ in asked]:
            asked.append((text, answer))
    return asked


def answers_of(answer: str, rng: np.random.Generator) -> list[str]:
    """Ten answers as annotators write them: most agree, and some mistype or refuse."""
    return [_written(answer, rng) for _ in range(ANSWERS)]


WRITTEN = {"plain": 0.5, "title": 0.1, "capitals": 0.08, "stop": 0.06, "meta": 0.04}
"""How often an answer is written how."""
MISREAD = {"article": 0.06, "plural": 0.05, "typo": 0.08, "split": 0.03}
"""The same of what happens to words that were read, and not to yes and no."""


def _written(answer: str, rng: np.random.Generator) -> str:
    shares = WRITTEN if answer in ("yes", "no") else WRITTEN | MISREAD
    weights = np.array([*shares.values()])
    kind = [*shares][rng.choice(len(shares), p=weights / weights.sum())]
    place = int(rng.integers(1, len(answer)))
    meta = ("unanswerable", "not a question", "no text in image")[rng.integers(3)]
    return {
        "plain": answer,
        "title": answer.title(),
        "capitals": answer.upper(),
        "article": f"the {answer}",
        "stop": f"{answer}.",
        "plural": f"{answer}s",
        "typo": answer[:place] + answer[place + 1 :],
        "split": f"{answer[:place]}-{answer[place:]}",
        "meta": meta,
    }[kind]


# ---- the set in TextVQA's form ----


def image_id(split: str, number: int) -> str:
    """An id as OpenImages has them: 16 hexadecimal digits."""
    return hashlib.sha256(f"{split} {number}".encode()).hexdigest()[:16]


def entries(split: str, n: int) -> Iterator[tuple[Scene, dict[str, Any], list[dict[str, Any]]]]:
    """Yield each of n scenes, its entry of Rosetta's file, and its questions' entries."""
    name = SPLITS[split]
    for number in range(n):
        scene = scene_of(split, number)
        rng = np.random.default_rng([STREAMS["signs"], 4 + list(SPLITS).index(split), number])
        key = image_id(split, number)
        questions = [
            {
                "question": question,
                "image_id": key,
                "image_classes": ["Traffic sign"],
                "flickr_original_url": f"https://signs.invalid/{key}_o.jpg",
                "flickr_300k_url": f"https://signs.invalid/{key}_z.jpg",
                "image_width": WIDTH,
                "image_height": HEIGHT,
                "answers": answers_of(answer, rng),
                "question_tokens": question.rstrip("?").split(),
                "question_id": 10 * number + place + (0 if split == "train" else 10_000_000),
                "set_name": name,
            }
            for place, (question, answer) in enumerate(questions_of(scene, rng))
        ]
        yield scene, _rosetta(key, scene), questions


def _rosetta(key: str, scene: Scene) -> dict[str, Any]:
    """An entry of Rosetta's file: what an OCR engine would read without a mistake."""
    return {
        "image_id": key,
        "ocr_tokens": [sign.word.upper() for sign in scene.signs],
        "ocr_info": [
            {
                "word": sign.word.upper(),
                "bounding_box": {
                    "top_left_x": sign.box[0],
                    "top_left_y": sign.box[1],
                    "width": sign.box[2],
                    "height": sign.box[3],
                    "rotation": sign.slant,
                    "roll": 0.0,
                    "pitch": 0.0,
                    "yaw": 0.0,
                },
            }
            for sign in scene.signs
        ],
    }


def make_questions(scenes: dict[str, int], outputs: dict[str, str | Path]) -> None:
    """Publish the question set: `images`, and for each split `<split>` and `<split>_ocr`.

    scenes: split -> number of its scenes. images: the folder of both splits' images.
    """
    with publish(outputs["images"]) as folder:
        folder.mkdir()
        for split, n in scenes.items():
            questions, readings = [], []
            made = progress(entries(split, n), total=n, unit="scene", desc=split)
            for scene, reading, of_scene in made:
                (folder / f"{reading['image_id']}.jpg").write_bytes(_jpeg(draw(scene)))
                readings.append(reading)
                questions += of_scene
            for key, name, data in (
                (split, "textvqa", questions),
                (f"{split}_ocr", "textvqa_ocr", readings),
            ):
                body = {
                    "dataset_type": SPLITS[split],
                    "dataset_name": name,
                    "dataset_version": "0.5.1",
                    "data": data,
                }
                write_text(json.dumps(body), outputs[key])


def _jpeg(image: Image.Image) -> bytes:
    body = io.BytesIO()
    image.save(body, "jpeg", quality=92, subsampling=0)
    return body.getvalue()


# ---- words as images ----

WORD_COLUMNS = ("path", "word", "kind", "face", "faces", "letters", "height")


def word_scenes(per_kind: int) -> Iterator[tuple[Scene, str, str]]:
    """Yield scenes of one sign, with the kind of the word and of the face.

    The first `per_kind` words of each of sign, unseen and pseudo, once in a seen and once in an
    unseen face.
    """
    for kind in ("sign", "unseen", "pseudo"):
        for number, word in enumerate(words(kind)[:per_kind]):
            for faces in FACES:
                place = [KINDS.index(kind), list(FACES).index(faces), number]
                rng = np.random.default_rng([STREAMS["words"], *place])
                yield make([word], rng, faces, Difficulty(place=0.3)), kind, faces


def make_words(per_kind: int, table_csv: str | Path, image_folder: str | Path) -> None:
    """Publish images of single words, and their table with WORD_COLUMNS.

    height: of the letters, in pixels of the image.
    """
    lines: list[tuple] = [WORD_COLUMNS]
    with publish(image_folder) as folder:
        folder.mkdir()
        for number, (scene, kind, faces) in enumerate(word_scenes(per_kind)):
            (sign,) = scene.signs
            name = f"{number:05}.jpg"
            (folder / name).write_bytes(_jpeg(draw(scene)))
            height = _text(sign.word, sign.face, sign.size).height
            lines.append((f"{Path(image_folder).name}/{name}", sign.word, kind, sign.face, faces,
                          len(sign.word), height))  # fmt: skip
    with publish(table_csv) as path, open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
