"""The images of questions at the model's size, in one array."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from countclip.data.images import MAX_BYTES, Unusable, decode, read_file
from countclip.experiments.reading.views import grid_of, views
from countclip.model.inputs import pack_images
from countclip.model.preprocessing import Preprocessing
from countclip.runtime.csv_files import raise_problems
from countclip.runtime.files import write_table


def pack(
    images: Iterable[tuple[str, Path | bytes]],
    n: int,
    *,
    size: Preprocessing | int,
    view: str,
    images_npy: str | Path,
    sizes_parquet: str | Path,
) -> None:
    """Publish n images as uint8 (n k, size, size, 3), k parts each, and their index, width, height.

    images: name, and file or its bytes. size: a side in pixels, or a model's preprocessing, as
    `inputs.pack_images` has it. ValueError lists every image that cannot be read; then nothing is
    published.
    """
    sizes: list[tuple[int, int]] = []
    parts = (part for image in _decoded(images, sizes) for part in views(image, view))
    pack_images(parts, n * grid_of(view) ** 2, size, str(images_npy))
    table = pd.DataFrame(sizes, columns=["width", "height"], dtype=np.int32)
    write_table(table.reset_index(), sizes_parquet)


def _decoded(
    images: Iterable[tuple[str, Path | bytes]], sizes: list[tuple[int, int]]
) -> Iterator[Image.Image]:
    problems = []
    for name, stored in images:
        try:
            body = stored if isinstance(stored, bytes) else read_file(stored, MAX_BYTES)
            image = decode(body)
        except Unusable as error:
            problems.append(f"{name}: {error}")
            image = Image.new("RGB", (1, 1))  # so that the others are read
        sizes.append(image.size)
        yield image
    raise_problems("images of the questions", problems)
