"""Decoding of images: the same everywhere, hostile ones refused."""

import io

import pytest
from PIL import Image

import faults
from countclip.data.images import Unusable, decode


def file(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
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
