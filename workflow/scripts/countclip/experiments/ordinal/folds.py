"""The table of one fold, and the images of all folds."""

import numpy as np
import pandas as pd

PARTS = ("train", "validation", "test")


def read_fold(table: str, images: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The table of a fold (Parquet: index, label, part, group) and all images, uint8 (m, side,
    side, 3).

    index: row of the image in `images` (.npy). ValueError for a fold with an empty part, or an
    image that is not there.
    """
    fold, pixels = pd.read_parquet(table), np.load(images, mmap_mode="r")
    for part in PARTS:
        if not (fold["part"] == part).any():
            raise ValueError(
                f"{table}: no row has the part {part!r}; draw the folds again with all of"
                f" {', '.join(PARTS)}"
            )
    if fold["index"].max() >= len(pixels):
        raise ValueError(
            f"{table}: image {fold['index'].max()} is not in {images}, which has {len(pixels)};"
            " pack the images of this table again"
        )
    return fold, pixels
