"""Checks of a benchmark image: size, flatness, placeholders, perceptual hash."""

from typing import NamedTuple

import imagehash
import numpy as np

from countclip.data.images import TooManyPixels, Unusable, decode
from countclip.runtime.files import sha256

FLAT = 2.0
"""Standard deviation of grey values (0 to 255) below which an image shows nothing to count."""
REMOVED_SIZES = {(161, 81)}
"""Sizes in pixels of the placeholders that well-known hosts send for a removed image."""


class ImageFacts(NamedTuple):
    """Digests and size of an image; `phash` is 64 bits in hex."""

    sha256: str
    phash: str
    width: int
    height: int
    bytes: int


def examine(body: bytes, max_pixels: int, min_side: int) -> tuple[ImageFacts, str, str]:
    """Facts on an image, its status (`alive`, `too_small` or `placeholder`), and the evidence.

    Raises Unusable for anything else than an image (images.decode).
    """
    try:
        image = decode(body, max_pixels)
    except TooManyPixels as error:
        limit = f"countbench.picture.max_pixels is {max_pixels}, raise it to take this image"
        raise Unusable(error.status, f"{error.detail}: {limit}") from error
    grey = image.convert("L")
    facts = ImageFacts(sha256(body), str(imagehash.phash(grey)), *image.size, len(body))
    size = f"{image.width} x {image.height} pixels"
    if min(image.size) < min_side:
        return facts, "too_small", size
    if np.asarray(grey).std() < FLAT:
        return facts, "placeholder", "a flat image"
    if image.size in REMOVED_SIZES:
        return facts, "placeholder", f"{size}, as hosts send for a removed image"
    return facts, "alive", ""
