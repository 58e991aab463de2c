"""Decoding of images: the same everywhere, hostile ones refused."""

import base64
import importlib.util
import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import faults
from countclip.benchmarks.image_checks import examine
from countclip.data.images import (
    FORMATS,
    MAX_PIXELS,
    Unusable,
    decode,
    format_of,
    known_start,
    read_file,
)


def file(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_hostile_images_are_refused() -> None:
    with pytest.raises(Unusable, match="too many"):
        decode(file(Image.new("L", (1100, 1100)), "PNG"), max_pixels=1_000_000)
    for body in (b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"P5 9 9 9 "):
        with pytest.raises(Unusable, match="not_an_image"):
            decode(body)
    whole = file(Image.effect_noise((64, 64), 60), "JPEG")
    for end in (10, 300, len(whole) - 100):
        with pytest.raises(Unusable, match="undecodable"):
            decode(whole[:end])


def test_a_jpeg_has_no_more_scans_than_any_program_writes() -> None:
    """Each walks the whole image: a small file could take hours."""
    assert decode(faults.endless_scans(20, side=64)).size == (64, 64)
    with pytest.raises(Unusable, match="undecodable .a JPEG of more than 500 scans"):
        decode(faults.endless_scans(500, side=64))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0)).convert(mode)
    assert decode(file(image, "PNG"), 10).getpixel((0, 0)) == (255, 255, 255)


# ---- formats ----

HEIC = base64.b64decode(  # 64 x 48 pixels, red at the top left of white
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAADMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADw"
    "NgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAA"
    "AAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcA"
    "AAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWB"
    "AgMFhAAAADttZGF0AAAALygBrxmA94UN/98KfGuDakh+TgYF0RpkZ7ibWVxkYq7x8gj+Kre+6Xa4kQa4hnGI"
)
WRITES = [name for name in FORMATS if name != "PSD"]


@pytest.mark.parametrize("kind", WRITES)
def test_every_format_is_read_and_a_part_of_it_is_not(kind: str) -> None:
    image = Image.new("RGB", (32, 32), "white")
    image.paste((200, 0, 0), (0, 0, 16, 16))
    body = file(image, kind)
    shown = decode(body)
    assert shown.size == (32, 32)
    red, white = shown.getpixel((6, 6)), shown.getpixel((25, 25))
    assert red[0] > 180 > 60 > red[1]
    assert min(white) > 240
    assert format_of(body) == kind.lower()
    for end in (5, 40, len(body) // 2):
        with pytest.raises(Unusable, match="broken|no known image format"):
            decode(body[:end])


def test_heic_is_read_or_named_with_the_package_that_reads_it() -> None:
    assert known_start(HEIC) == "HEIC"
    if importlib.util.find_spec("pillow_heif") is None:
        with pytest.raises(Unusable, match="not_an_image .HEIC is read with the package pillow-"):
            decode(HEIC)
        return
    assert decode(HEIC).size == (64, 48)
    assert decode(HEIC).getpixel((5, 5))[1] < 60 < 240 < decode(HEIC).getpixel((50, 40))[1]
    for end in (24, 200):
        with pytest.raises(Unusable, match="undecodable .a broken, truncated or unusual HEIC"):
            decode(HEIC[:end])


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "an empty file: get it anew"),
        (b"\n <svg viewBox='0 0 9 9'/>", "SVG is not read: save it as"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL is not read: save it as"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "run `git lfs pull`"),
        (b"\0\0\0\x14ftypqt  \0\0", "a video is not read"),
        (b"\0\0\0\x18ftypcrx ", "a camera's raw file is not read: save it as JPEG"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video is not read"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "no known image format"),
        (b"\0" * 128 + b"DICM", "DICOM is not read"),
        (b"P6 is no image but a text", "no known image format"),
        (b"cache/../seven.webp", "a link that was stored as a file: put the image in its place"),
        ("Küche 7.JPG".encode(), "a link that was stored as a file"),
        (b"L\0\0\0\x01\x14\x02\0\0\0\0\0", "a link that was stored as a file"),
        (b"and/or\nsome lines", "no known image format"),
        (b"https://example.org/7.jpg", "no known image format"),
        (b"<!DOCTYPE html><title>Sign in", "a web page: get the image itself"),
        (b"<?xml version='1.0'?><svg/>", "SVG is not read: save it as"),
        (b"PF\n9 9\n-1.0\n", "PFM in colour is not read"),
    ],
)
def test_what_is_not_read_is_named(body: bytes, detail: str) -> None:
    with pytest.raises(Unusable, match="not_an_image") as refused:
        decode(body)
    assert detail in refused.value.detail


def test_the_preview_in_a_cameras_raw_file_is_not_taken_for_its_image() -> None:
    for tag, value in ((254, 1), (50706, b"\1\4\0\0")):
        body = file(Image.effect_noise((64, 64), 60), "TIFF", tiffinfo={tag: value})
        with pytest.raises(Unusable, match="a camera's raw file is not read"):
            decode(body)


@pytest.mark.parametrize("place", ["before", "after", "profile"])
def test_a_png_with_long_texts_is_read(place: str) -> None:
    """Pillow refuses texts that are longer than a megabyte, which a few bytes can hold."""
    body = file(Image.effect_noise((64, 64), 60), "PNG")
    text = zlib.compress(b"x" * 3_000_000)
    kind, head = (b"iCCP", b"profile\0\0") if place == "profile" else (b"zTXt", b"prompt\0\0")
    chunk = kind + head + text
    chunk = (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    at = len(body) - 12 if place == "after" else 33  # behind the header, or before the end
    longer = body[:at] + chunk + body[at:]
    assert decode(longer).tobytes() == decode(body).tobytes()
    assert format_of(longer) == "png"
    with pytest.raises(Unusable, match="undecodable"):
        decode(longer[:-200] if place != "after" else body[:-200])


def test_a_text_of_usual_length_still_says_how_an_image_is_turned() -> None:
    info = PngInfo()
    info.add_text("Comment", "x" * 500_000, zip=True)
    exif = Image.Exif()
    exif[274] = 6
    body = file(Image.new("RGB", (64, 48)), "PNG", pnginfo=info, exif=exif)
    assert decode(body).size == (48, 64)


# ---- depths ----

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RAMP.astype("f4"), RAMP),
        ((0.2 + RAMP / 2).astype("f4"), 0.2 + RAMP / 2),  # as published: 0 to 1
        ((255 * RAMP).astype("f4"), RAMP),
        ((7 * RAMP - 3).astype("f4"), RAMP),
        (np.where(RAMP < 0.5, np.nan, 1e5 * RAMP).astype("f4"), (2 * RAMP - 1).clip(0)),
        ((200 * RAMP).astype("i4"), RAMP * 200 / 255),
        ((1e6 * RAMP).astype("i4"), RAMP),
        ((RAMP > 0.5).astype("i4"), RAMP > 0.5),
        ((1023 * RAMP).astype("u2"), RAMP),  # 10 bits in 16
        ((16383 * RAMP).astype("u2"), RAMP),  # 14 bits
        ((30000 + 500 * RAMP).astype("u2"), RAMP),  # a camera of warmth
        ((40000 * RAMP).astype("u2"), RAMP * 40000 / 65535),
        (np.full((64, 64), 0x8000, "u2"), np.full((64, 64), 0.5)),
    ],
)
def test_deep_greys_keep_their_range(values: np.ndarray, expected: np.ndarray) -> None:
    image = Image.fromarray(values)
    for kind in ("TIFF", "PNG") if image.mode == "I;16" else ("TIFF",):
        shown = np.asarray(decode(file(image, kind)).convert("L"))
        np.testing.assert_allclose(shown, 255 * expected, atol=2)


def test_a_hot_pixel_does_not_darken_the_others() -> None:
    values = (4095 * RAMP).astype("u2")
    values[7, 7] = 65535
    assert np.asarray(decode(file(Image.fromarray(values), "PNG"))).mean() > 120


def test_an_image_without_a_number_in_it_is_refused() -> None:
    body = file(Image.fromarray(np.full((40, 40), np.nan, "f4")), "TIFF")
    with pytest.raises(Unusable, match="undecodable .no value of its pixels is a number"):
        decode(body)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colours_keep_their_range(suffix: str, channels: int) -> None:
    for white, expected in ((4095, RAMP), (65535, RAMP), (30000, RAMP * 30000 / 65535)):
        colours = np.dstack([white * RAMP] * 3 + [np.full((64, 64), 65535)] * (channels - 3))
        body = cv2.imencode(suffix, colours.astype("u2"))[1].tobytes()
        shown = np.asarray(decode(body).convert("L"))
        np.testing.assert_allclose(shown, 255 * expected, atol=20)  # of 12 bits, four are left


def test_lab_becomes_rgb_and_a_negative_positive() -> None:
    shown = decode(file(Image.new("LAB", (40, 40), (255, 128, 128)), "TIFF"))
    assert min(shown.getpixel((5, 5))) > 245
    ramp = Image.fromarray((65535 * RAMP).astype("u2"))
    body = file(ramp, "TIFF", tiffinfo={262: 0})
    assert np.asarray(decode(body))[0, 0, 0] > 250 > 5 > np.asarray(decode(body))[-1, -1, 0]


# ---- sizes ----


def test_a_limit_of_the_config_is_named_and_ours_is_not_below_phones() -> None:
    assert MAX_PIXELS >= 16384 * 12288
    body = file(Image.effect_noise((300, 200), 60), "PNG")
    limit = r"300 x 200 pixels are too many: countbench.picture.max_pixels is 50000, raise it"
    with pytest.raises(Unusable, match=limit):
        examine(body, 50_000, 32)
    assert examine(body, 60_000, 32)[1] == "alive"
    for width in (15_000, 30_000):  # below and above what Pillow refuses by itself
        header = b"IHDR" + width.to_bytes(4) + (15_000).to_bytes(4) + body[24:29]
        large = body[:12] + header + zlib.crc32(header).to_bytes(4) + body[33:]
        with pytest.raises(Unusable, match=f"too many.*at most {MAX_PIXELS} are read, so make"):
            decode(large)


def test_the_image_in_an_icon_has_the_same_bound() -> None:
    body = file(Image.new("RGBA", (2000, 2000)), "PNG")
    entry = b"\x20\x20\0\0\1\0\x20\0" + len(body).to_bytes(4, "little") + b"\x16\0\0\0"
    with pytest.raises(Unusable, match="2000 x 2000 pixels are too many"):
        decode(b"\0\0\1\0\1\0" + entry + body, max_pixels=1_000_000)


def test_a_file_that_cannot_be_read_says_why(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("gone/elsewhere.jpg")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "nine.jpg").write_bytes(b"123456789")
    assert read_file(tmp_path / "nine.jpg", 9) == b"123456789"
    for name, reason in {
        "pipe.jpg": "unreadable .no regular file",
        "link.jpg": "unreadable .a link to 'gone/elsewhere.jpg': No such file",
        "self.jpg": "unreadable .a link to 'self.jpg': Too many levels",
        ".": "unreadable .a folder",
        "nine.jpg": "too_large .more than 8 bytes",
        "x" * 300: "unreadable .File name too long",
        "nu\0l": "unreadable .embedded null byte",
    }.items():
        with pytest.raises(Unusable, match=reason):
            read_file(tmp_path / name, 8)


SHADES = np.tile(np.linspace(0, 1, 96), (96, 1))
"""Grey values from black, at the left, to white."""


def tiff(pixels: np.ndarray, sample_format: int) -> bytes:
    """A TIFF of one channel, whose tags say what `pixels` are: 1 unsigned, 2 signed, 3 floats."""
    height, width = pixels.shape
    bits, data = pixels.itemsize * 8, pixels.tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 134, 277: 1, 278: height,
            279: len(data), 339: sample_format}  # fmt: skip
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    entries = (struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (head + b"".join(entries)).ljust(134, b"\0") + data


def png16(colours: np.ndarray) -> bytes:
    """A PNG of 16 bits from (height, width, 3 or 4)."""
    height, width, bands = colours.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[bands], 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(lines), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


@pytest.mark.parametrize(
    "body",
    [
        tiff((4.2e9 * SHADES).astype("<u4"), 1),
        tiff((200 * SHADES - 100).astype("i1"), 2),
        tiff((30000 * SHADES - 9000).astype("<i2"), 2),
        b"P6\n96 96\n65535\n" + np.stack([4095 * SHADES] * 3, -1).astype(">u2").tobytes(),
        png16(4095 * np.stack([SHADES] * 3 + [np.ones_like(SHADES)], -1)),
    ],
)
def test_values_that_pillow_misreads_become_dark_and_light(body: bytes) -> None:
    shown = np.asarray(decode(body).convert("L")).astype(int)
    middle = shown[50]
    assert middle[5] < 60
    assert middle[90] > 160
    assert (np.diff(middle[::12]) > 0).all()


def test_colours_of_16_bits_that_hold_8_are_refused_not_black() -> None:
    with pytest.raises(Unusable, match="undecodable .* fewer than 11 of them: save it with 8"):
        decode(png16(255 * np.stack([SHADES] * 3, -1)))
    glyph = np.zeros((96, 96, 4))
    glyph[:, 48:, 3] = 65535  # black, where it is not transparent
    assert decode(png16(glyph)).getpixel((90, 9)) == (0, 0, 0)
    assert decode(png16(glyph)).getpixel((9, 9)) == (255, 255, 255)


@pytest.mark.parametrize("pixels", [SHADES.astype("<f8"), SHADES.astype("<f2")])
def test_a_tiff_of_unread_pixels_is_not_called_broken(pixels: np.ndarray) -> None:
    with pytest.raises(Unusable, match="whose pixels are not read, .*: save it as JPEG or PNG"):
        decode(tiff(pixels, 3))
    with pytest.raises(Unusable, match="a broken, truncated or unusual TIFF"):
        decode(tiff(pixels, 3)[:30])
