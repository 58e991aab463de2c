"""The images of an ordinal set at the model's size, in one array."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from PIL import Image

from countclip.data.images import MAX_BYTES, Unusable, decode, read_file
from countclip.model.inputs import pack_images
from countclip.model.preprocessing import Preprocessing
from countclip.runtime.csv_files import raise_problems
from countclip.runtime.folders import ImageFolder, inside


def pack(
    images_parquet: str | Path,
    folder: ImageFolder,
    how: Preprocessing | int,
    path: str | Path,
) -> None:
    """Publish uint8 (n, size, size, 3), in the order of the index of `data.make_folds`; `how`
    as `inputs.pack_images` has it.

    ValueError lists every image that cannot be read; then nothing is published.
    """
    names = pd.read_parquet(images_parquet).sort_values("index")["path"].tolist()
    pack_images(_decoded(names, folder), len(names), how, str(path))


def _decoded(names: list[str], folder: ImageFolder) -> Iterator[Image.Image]:
    """Yield each image; where some cannot be read, raise for all of them at the end."""
    problems = []
    for name in names:
        try:
            yield decode(read_file(inside(folder, name), MAX_BYTES))
        except Unusable as error:
            problems.append(f"{name}: {error}; mend it, or leave its line out of the CSV")
            yield Image.new("RGB", (1, 1))  # so that the others are read
    raise_problems(folder.path, problems)
