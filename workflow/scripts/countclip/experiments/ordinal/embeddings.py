"""Files of embeddings of images and of the concepts' texts, before or after a training."""

from typing import NamedTuple

import numpy as np

from countclip.runtime.files import publish

KINDS = {"texts": "texts of the concepts", "images": "mean image of each label"}


class Embeddings(NamedTuple):
    """Of one state of a model: images (n, d) with labels (n,), and K texts with midpoints (K,)."""

    images: np.ndarray
    labels: np.ndarray
    texts: np.ndarray
    midpoints: np.ndarray

    def of(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings and values of one of KINDS."""
        if kind == "texts":
            return self.texts, self.midpoints
        return self.images, self.labels


def write_embeddings(embeddings: Embeddings, path: str) -> None:
    """Publish embeddings as NPZ."""
    with publish(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **embeddings._asdict())


def read_embeddings(path: str) -> Embeddings:
    """The embeddings of `write_embeddings`; ValueError names a file that holds none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Embeddings(**arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: not embeddings of images and texts ({error}); delete it and run again"
        ) from error
