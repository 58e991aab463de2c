"""Decoding of image files from any source, with bounds on the cost."""

import io
import os
import struct
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from PIL import IcoImagePlugin, Image, ImageOps, TiffImagePlugin

from countclip.runtime.machine import OF_ALL_FILES, raise_machine_error

MAX_PIXELS = 220_000_000
"""Bound for any image; cameras of phones have 200 million. The config sets lower ones."""
MAX_BYTES = 1_000_000_000
"""Bound for an image file of a user: MAX_PIXELS with four channels, uncompressed, and some more."""
MAX_SCANS = 500
"""Scans of a JPEG. Each decodes the whole image, and a small file can hold enough for a day."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "PCX",
           "SGI", "PSD", "TGA")  # fmt: skip
"""Formats that Pillow reads. HEIC comes from pillow-heif."""
VAGUE = ("PPM", "ICO", "PCX", "SGI", "TGA")
"""Formats of which a few bytes tell nothing: a broken one may be anything."""
SUFFIXES = {
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".j2k", ".jpx"),
    *(".heic", ".heif", ".hif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".pcx", ".psd"),
}
"""Names by which a folder's images are known where only names tell."""
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "PSD",
}
_SAVE = "save it as JPEG or PNG"
_RAW = f"a camera's raw file is not read: {_SAVE}"
_VIDEO = "a video is not read: save a frame of it as JPEG or PNG"
_LINK = "a link that was stored as a file: put the image in its place"
_UNREAD = {
    b"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
    b"/annex/objects/": "a pointer of git-annex: run `git annex get`",
    b"PK\x03\x04": "an archive or a document: unpack it",
    b"\x1f\x8b": "an archive: unpack it",
    b"\x1aE\xdf\xa3": _VIDEO,
    **dict.fromkeys((b"FUJIFILMCCD-RAW", b"IIRO", b"IIU\0"), _RAW),
    # Of Windows, macOS, Cygwin and Samba.
    **dict.fromkeys((b"L\0\0\0\1\x14\2\0", b"book\0\0\0\0mark", b"!<symlink>", b"XSym\n"), _LINK),
    **{
        start: f"{name} is not read: {_SAVE}"
        for start, name in {
            b"%PDF": "PDF",
            b"%!PS": "PostScript",
            b"PF\n": "PFM in colour",
            b"<svg": "SVG",
            b"\xff\x0a": "JPEG XL",
            b"\0\0\0\x0cJXL ": "JPEG XL",
            b"II\xbc\x01": "JPEG XR",
            b"qoif": "QOI",
            b"icns": "ICNS",
            b"DDS ": "DDS",
            b"gimp xcf": "XCF",
            b"v/1\x01": "OpenEXR",
            b"#?R": "Radiance HDR",
            b"SIMPLE  =": "FITS",
            b"\x93NUMPY": "an array of NumPy",
        }.items()
    },
}
"""What people have among images, by its first bytes, and what to do."""
_AT_MOST = f": at most {MAX_PIXELS} are read, so make it smaller"
_ICON = b"\0\0\1\0"
_HEIC = ("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "msf1")
_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_PREVIEW, _DNG, _PHOTOMETRIC, _SAMPLES = 254, 50706, 262, 339  # tags of TIFF
_UNSIGNED, _SIGNED = (1,), (2,)  # values of _SAMPLES

# The bounds are those of this module; Pillow refuses twice as much as it warns of.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Unusable(ValueError):
    """A file that is no image to count in; `status` is one of audit.csv."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(f"{status} ({detail})")
        self.status, self.detail = status, detail


class TooManyPixels(Unusable):
    """An image above a bound of the caller, who can say which key of the config sets it."""


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a user's image file; Unusable where it cannot be read or is too large."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device may never end
            kind = "a folder" if path.is_dir() else "no regular file"
            shut = path.is_dir() and not os.access(path, os.R_OK | os.X_OK)
            shut = ": give this user the right to list it" if shut else ""
            raise Unusable("unreadable", kind + shut)
        with open(path, "rb") as file:  # not even a part of what is too large, such as a video
            is_too_large = os.fstat(file.fileno()).st_size > max_bytes
            body = b"" if is_too_large else file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, Unusable):
            raise
        raise_machine_error(error, OF_ALL_FILES)
        reason = getattr(error, "strerror", None) or str(error)
        if os.path.islink(path):
            reason = f"a link to {os.readlink(path)!r}: {reason}"
        raise Unusable("unreadable", reason) from error
    if is_too_large or len(body) > max_bytes:
        raise Unusable("too_large", f"more than {max_bytes} bytes")
    return body


def decode(body: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image as a person sees it: RGB, upright (EXIF), transparency on white.

    More than eight bits become eight (`_grey`, `_spread`). Raises Unusable for a file that is no
    image, is broken, or has too many pixels (which are counted before decoding).
    """
    try:
        return _decode(_open(body), body, max_pixels)
    except Unusable:
        # Pillow refuses a sound PNG whose texts are long: some programs store a document in it.
        if (lean := _without_text(body)) == body:
            raise
    return _decode(_open(lean), lean, max_pixels)


def format_of(body: bytes) -> str:
    """The format of an image that can be decoded, in lower case, as the suffix of its file."""
    return {"mpo": "jpeg"}.get(name := _open(_without_text(body)).format.lower(), name)


def _open(body: bytes) -> Image.Image:
    """An image whose pixels are not decoded yet; Unusable names the format of any other file."""
    try:
        if body.startswith(_ICON):  # Image.open would decode it, whatever size the image inside has
            image = IcoImagePlugin.IcoFile(io.BytesIO(body)).frame(0)
            image.format = "ICO"
        else:
            image = Image.open(io.BytesIO(body), formats=_formats(body))
    except Image.DecompressionBombError as error:
        raise Unusable("undecodable", f"too many pixels{_AT_MOST}") from error
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        raise_machine_error(error)
        raise _unopened(body) from error
    tags = getattr(image, "tag_v2", {})
    if image.format == "TIFF" and (
        _DNG in tags or tags.get(_PREVIEW, 0) & 1 or body[8:10] == b"CR"
    ):
        raise Unusable("not_an_image", _RAW)
    return image


def _formats(body: bytes) -> tuple[str, ...]:
    """Formats to try; HEIC where a file says so alone, since its library is slow to import."""
    return (*FORMATS, "HEIF") if _brand(body) in _HEIC and _has_heif() else FORMATS


@cache
def _has_heif() -> bool:
    """Register pillow-heif with Pillow, if it is there."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _brand(body: bytes) -> str:
    """The kind of an ISO media file, such as heic, avif or qt; '' of another file."""
    return body[8:12].decode("latin-1").strip() if body[4:8] == b"ftyp" else ""


def known_start(body: bytes) -> str | None:
    """The format that a file begins as, if it is one that is read and can be told so early."""
    if _brand(body) in _HEIC:
        return "HEIC"
    if _brand(body) in ("avif", "avis"):
        return "AVIF"
    if body.startswith(b"RIFF") and b"WEBP".startswith(body[8:12]):
        return "WEBP"
    return next((name for start, name in _SIGNATURES.items() if body.startswith(start)), None)


def _unopened(body: bytes) -> Unusable:
    """Why a file cannot be opened: its format, and what to do."""
    name = known_start(body)
    if name == "HEIC" and not _has_heif():
        return Unusable("not_an_image", f"HEIC is read with the package pillow-heif: {_SAVE}")
    if name == "TIFF" and _has_unread_pixels(body):
        detail = "a TIFF whose pixels are not read, such as floats of 64 bits or in colour"
        return Unusable("undecodable", f"{detail}: {_SAVE}")
    if name:
        detail = f"a broken, truncated or unusual {name}: get it anew, or {_SAVE}"
        return Unusable("undecodable", detail)
    brand = _brand(body)
    if brand == "crx":
        return Unusable("not_an_image", _RAW)
    if brand or body[4:8] in (b"moov", b"mdat", b"wide") or body[8:12] == b"AVI ":
        return Unusable("not_an_image", _VIDEO)
    if body[128:132] == b"DICM":
        return Unusable("not_an_image", f"DICOM is not read: {_SAVE}")
    if not body:
        return Unusable("not_an_image", "an empty file: get it anew")
    text = body.lstrip()
    unread = next((name for start, name in _UNREAD.items() if text.startswith(start)), None)
    return Unusable("not_an_image", unread or _text(text) or "no known image format")


def _has_unread_pixels(body: bytes) -> bool:
    """Whether a TIFF is sound as far as its tags, which name pixels that Pillow does not read."""
    try:
        TiffImagePlugin.TiffImageFile(io.BytesIO(body))
    except SyntaxError as error:
        return "unknown pixel mode" in str(error)
    except Exception:
        return False
    return False


def _text(body: bytes) -> str:
    """What a text is that people have among images, and what to do; '' of another file."""
    start = body[:1024].lower()
    if b"<svg" in start:
        return f"SVG is not read: {_SAVE}"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page: get the image itself"
    try:
        text = body.decode() if len(body) <= 1024 else ""
    except UnicodeDecodeError:
        return ""
    # Git and archives write a link as the path that it leads to where they cannot make links.
    is_path = text.isprintable() and ("/" in text or Path(text).suffix.lower() in SUFFIXES)
    return f"{_LINK} ({text[:80]!r})" if is_path and "://" not in text else ""


def _without_text(body: bytes) -> bytes:
    """A PNG without its texts and its colour profile, and any other file as it is."""
    if not body.startswith(b"\x89PNG\r\n\x1a\n"):
        return body
    chunks, at = [body[:8]], 8
    while at + 8 <= len(body):
        length, kind = struct.unpack_from(">I4s", body, at)
        if kind not in _TEXT:
            chunks.append(body[at : at + length + 12])
        at += length + 12
    return b"".join(chunks)


def _decode(image: Image.Image, body: bytes, max_pixels: int) -> Image.Image:
    name = image.format
    if image.width * image.height > max_pixels:
        bound = _AT_MOST if max_pixels == MAX_PIXELS else ""
        raise TooManyPixels(
            "undecodable", f"{image.width} x {image.height} pixels are too many{bound}"
        )
    if name in ("JPEG", "MPO") and body.count(b"\xff\xda") > MAX_SCANS:
        raise Unusable("undecodable", f"a JPEG of more than {MAX_SCANS} scans")
    is_deep = _is_deep(image)
    tags = image.tag_v2 if name == "TIFF" else {}
    is_negative, samples = tags.get(_PHOTOMETRIC) == 0, tags.get(_SAMPLES, _UNSIGNED)
    image.decodermaxblock = 1 << 13  # small steps, between which a caller's alarm is handled
    try:
        image.load()
        with suppress(Exception):  # the image may be sound although its EXIF is broken
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16") or image.mode in ("I", "F"):
            image = _grey(image, is_unsigned=name == "TIFF" and samples == _UNSIGNED)
            return (ImageOps.invert(image) if is_negative else image).convert("RGB")
        if image.mode == "L" and samples == _SIGNED:
            image = image.point([(value + 128) % 256 for value in range(256)])
        if is_deep:
            image = _spread(image)
        if image.mode == "LAB":
            image = _from_lab(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")
    except Unusable:
        raise
    except Exception as error:
        raise_machine_error(error)
        if name in VAGUE:
            raise Unusable("not_an_image", f"no known image format, or a broken {name}") from error
        raise Unusable("undecodable", f"broken {name}") from error


def _is_deep(image: Image.Image) -> bool:
    """Whether Pillow keeps the upper eight of 16 bits of a colour alone."""
    if not image.tile:
        return False
    tile = image.tile[0]
    has_wide_values = image.format == "PPM" and isinstance(tile.args, tuple) and tile.args[-1] > 255
    return has_wide_values or tile.codec_name == "SGI16" or ";16" in str(tile.args)


def _grey(image: Image.Image, is_unsigned: bool) -> Image.Image:
    """Eight bits of grey values that have 16 or 32, or are floats.

    is_unsigned: whether 32 bits have no sign, which Pillow does not tell apart.

    Black is 0 and white the least of 1 (of floats alone), 255 and 65,535 that no value exceeds,
    where the values span a quarter of that or are all the same. Any others, such as 12 bits in 16,
    have their own least and largest value for black and white, apart from a few outliers.
    """
    import numpy as np

    values = np.asarray(image)
    values = (values.view(np.uint32) if image.mode == "I" and is_unsigned else values).astype("f4")
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise Unusable("undecodable", "no value of its pixels is a number")
    least, largest = float(finite.min()), float(finite.max())
    low, high = map(float, np.percentile(finite, (0.1, 99.9)))
    whites = {"F": (1.0, 255.0, 65535.0), "I": (255.0, 65535.0)}.get(image.mode, (65535.0,))
    white = next((white for white in whites if largest <= white), None)
    if white and least >= 0 and (high - low >= white / 4 or least == largest):
        low, high = 0.0, white
    elif low == high:
        low, high = least, largest
    grey = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / ((high - low) or 1)
    return Image.fromarray((255 * grey.clip(0, 1)).round().astype(np.uint8))


def _spread(image: Image.Image) -> Image.Image:
    """A colour image of 16 bits, over all eight if it used less than a quarter of its range.

    So is its transparency. Unusable where the eight bits that Pillow keeps hold next to nothing.
    """
    bands = image.getextrema()
    if image.mode not in ("RGB", "RGBA"):
        return image
    low, high = min(band[0] for band in bands[:3]), max(band[1] for band in bands[:3])
    if high < 8 and all(least == largest for least, largest in bands[3:]):
        detail = "its colours have 16 bits and use fewer than 11 of them: save it with 8 bits"
        raise Unusable("undecodable", detail)
    table = 3 * _stretch(low, high)
    return image.point(table + (_stretch(0, bands[3][1]) if bands[3:] else []))


def _stretch(low: int, high: int) -> list[int]:
    """A table that spreads values from low to high over eight bits, if they span few of these."""
    if not 0 < high - low < 64:
        return list(range(256))
    return [round(255 * min(max(value - low, 0) / (high - low), 1)) for value in range(256)]


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
