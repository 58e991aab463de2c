"""Decoding of image files from any source, with bounds on the cost."""

import io
from contextlib import suppress

from PIL import Image, ImageOps

from countclip.runtime.machine import raise_machine_error

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
MAX_PIXELS = 100_000_000
"""Bound for a stored image. Downloads have a lower one, from the config."""
MAX_SCANS = 500
"""Scans of a JPEG. Each decodes the whole image, and a small file can hold enough for a day."""


class Unusable(ValueError):
    """A file that is no image to count in; `status` is one of audit.csv."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(f"{status} ({detail})")
        self.status, self.detail = status, detail


def decode(body: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image as a person sees it: RGB, upright (EXIF), transparency on white.

    Raises Unusable for a file that is no image, is broken, or has too many pixels (which are
    counted before decoding).
    """
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Unusable("undecodable", "too many pixels") from error
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        raise_machine_error(error)
        if body.startswith(SIGNATURES):
            raise Unusable("undecodable", "only the head of an image") from error
        raise Unusable("not_an_image", "no known image format") from error
    if image.width * image.height > max_pixels:
        raise Unusable("undecodable", f"{image.width} x {image.height} pixels are too many")
    if image.format in ("JPEG", "MPO") and body.count(b"\xff\xda") > MAX_SCANS:
        raise Unusable("undecodable", f"a JPEG of more than {MAX_SCANS} scans")
    image.decodermaxblock = 1 << 13  # small steps, between which a caller's alarm is handled
    try:
        image.load()
        with suppress(Exception):  # the image may be sound although its EXIF is broken
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):  # convert() would make nearly all of it white
            image = image.convert("I").point(lambda value: value / 256).convert("L")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")
    except Exception as error:
        raise_machine_error(error)
        raise Unusable("undecodable", f"broken {image.format}") from error
