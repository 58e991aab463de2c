"""Checks of a benchmark image: size, flatness, placeholders, perceptual hash."""

from typing import NamedTuple

import imagehash
import numpy as np

from countclip.data.images import decode
from countclip.runtime.files import sha256

PICTURE = ("sha256", "phash", "width", "height", "bytes")
FLAT = 2.0
"""A picture whose grey values (0..255) deviate less than this shows nothing to count."""
REMOVED_SIZES = {(161, 81)}
"""In pixels, of pictures that well-known hosts send in the place of a removed one."""


class Picture(NamedTuple):
    """What is known of a picture; `phash` in hex, 64 bits."""

    sha256: str
    phash: str
    width: int
    height: int
    bytes: int


def examine(body: bytes, max_pixels: int, min_side: int) -> tuple[Picture, str, str]:
    """What a picture is, and its status with evidence: `alive`, `too_small` or `placeholder`.

    Unusable if it is none (images.decode).
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
