"""The miniature's model, and twelve pictures of noise with captions: what tests measure it on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from countclip.data.number_words import WORDS

MODEL = {
    "name": "miniature-vit",
    "pretrained": "resources/miniature/clip/miniature-vit.safetensors",
    "config": "resources/miniature/clip/miniature-vit.json",
}


def benchmark() -> Iterator[dict[str, Any]]:
    """Rows as `store.read_benchmark` has them; two to four, of stars and of hearts."""
    rng = np.random.default_rng(2)
    for index in range(12):
        number = 2 + index % 3
        yield {
            "index": index,
            "caption": f"{WORDS[number]} {'stars' if index % 2 else 'hearts'}",
            "number": number,
            "image": Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)),
        }
