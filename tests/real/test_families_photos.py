"""Each family of open_clip on real photos: open_clip's own preprocessing and embeddings."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

import families
from countclip.data.images import decode
from countclip.model import embeddings
from countclip.training import checkpoints

CAPTIONS = ["a photo of two dogs", "seven people", "bottles"]


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[bytes]:
    files = sorted((shared / "photos").rglob("*.jpg"))
    return [file.read_bytes() for file in files]


@pytest.mark.parametrize("family", families.MEMBERS)
@torch.no_grad()
def test_photos_are_embedded_as_open_clip_does(family, photos, tmp_path):
    clip = families.make(family, tmp_path)
    clip.model.eval()
    home = tmp_path / family
    checkpoints.save(clip.model, home / "open_clip_model.safetensors", {})
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{home}")
    model.eval()
    images = [decode(body) for body in photos]
    assert len(images) > 50
    packed = np.stack([clip.preprocessing.resize(image) for image in images])
    theirs = torch.stack([preprocess(image) for image in images])
    pixels = (clip.normalise(torch.from_numpy(packed)) - theirs).abs().max().item()
    image = torch.nn.functional.normalize(model.encode_image(theirs), dim=-1)
    text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{home}")(CAPTIONS))
    text = torch.nn.functional.normalize(text, dim=-1)
    apart = (embeddings.embed_images(clip, packed, batch=8) - image).abs().max().item()
    texts = embeddings.embed_texts(clip, clip.tokenize(CAPTIONS))
    apart_text = (texts - text).abs().max().item()
    print(f"{family}: pixels {pixels:.1e}, images {apart:.1e}, texts {apart_text:.1e}")
    assert max(pixels, apart, apart_text) < 1e-6
    assert image.std(dim=0).max() > 1e-4  # photos differ


def test_photos_are_read_alike_unless_a_camera_turned_them(photos):
    """What decoding does beyond Pillow's own: docs/guides/share.md."""
    import io

    for body in photos:
        plain = Image.open(io.BytesIO(body))
        if plain.getexif().get(0x0112, 1) == 1:
            assert np.array_equal(np.asarray(decode(body)), np.asarray(plain.convert("RGB")))
