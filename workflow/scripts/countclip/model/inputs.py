"""Inputs of a CLIP: resized images, packed arrays, token ids of the nine captions."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from countclip.data import captions
from countclip.model.clip import Clip
from countclip.model.preprocessing import Preprocessing
from countclip.runtime.files import progress, publish


def resize(image: Image.Image, size: int) -> np.ndarray:
    """uint8 (size, size, 3): shorter side to `size` (bicubic), centre cropped, as OpenAI's CLIP
    has it. What another model needs, `Clip.preprocessing` knows."""
    return Preprocessing(size).resize(image)


def pack_images(images: Iterable[Image.Image], n: int, how: Preprocessing | int, path: str) -> None:
    """Publish `n` images as one uint8 array (n, size, size, 3) that is mapped into memory later.

    Decoding and resizing happen once here instead of once an epoch and variant.
    how: a model's preprocessing; a size alone stands for OpenAI's with that size.
    """
    preprocessing = Preprocessing(how) if isinstance(how, int) else how
    size = preprocessing.size
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    # Written and not mapped: a full disk is then an error, and no signal that ends the process.
    with publish(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        done = 0
        for image in progress(images, total=n, unit="image", desc="pack"):
            file.write(preprocessing.resize(image).tobytes())
            done += 1
        if done != n:
            raise ValueError(f"{path}: {n} pairs need an image each, {done} images were read")


def nine_captions(clip: Clip, caption: str, number: int, everywhere: bool = False) -> list[str]:
    """The nine captions of one image, two to ten, cut so that the number word is among the tokens.

    Nine equal token sequences would be counted right or wrong by chance.
    """
    short = captions.truncate(caption, number, clip.encode, clip.token_limit)
    return captions.with_each_number(short, number, everywhere)


def tokens_of(clip: Clip, rows: list[list[str]]) -> np.ndarray:
    """Token ids uint16 (n, C, length) of n images with C captions each, which must all differ."""
    if not rows:
        return np.zeros((0, 1, 1), np.uint16)
    tokens = clip.tokenize(text for row in rows for text in row)
    tokens = tokens.reshape(len(rows), len(rows[0]), -1)
    for texts, row in zip(rows, tokens, strict=True):
        if len(np.unique(row, axis=0)) < len(row):
            raise ValueError(
                f"caption {texts[0][:200]!r}: with other numbers it has the same tokens, so nobody"
                " can tell them apart; exclude it"
            )
    return tokens
