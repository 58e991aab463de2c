"""Files of frozen embeddings: of a split's images, questions and answers, and of the pool.

All are float32 of unit length and d numbers. Each distinct text is encoded once, and each image.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from countclip.runtime.files import publish, read_json


class Embeddings(NamedTuple):
    """A split: image (Q, k, d), of k parts of the view; question (Q, d); answer (Q, d), of the
    majority answer as it is spelt. A row is a question, so an image may come twice."""

    image: np.ndarray
    question: np.ndarray
    answer: np.ndarray

    def by_name(self) -> dict[str, np.ndarray]:
        """(Q, d) of each, images by the mean of their parts."""
        mean = self.image.mean(axis=1)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True).clip(1e-12)
        return {"image": mean, "question": self.question, "answer": self.answer}


def write(path: str | Path, **arrays: np.ndarray) -> None:
    """Publish arrays by name as safetensors, float32 unless they are integers."""
    from safetensors.numpy import save_file

    stored = {
        name: np.ascontiguousarray(array if array.dtype.kind == "i" else array.astype(np.float32))
        for name, array in arrays.items()
    }
    with publish(path) as temporary:
        save_file(stored, temporary)


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name."""
    from safetensors.numpy import load_file

    return load_file(path)


def read_split(path: str | Path) -> Embeddings:
    """The embeddings of a split, a row a question; ValueError for a file of another kind."""
    arrays = read(path)
    if lacking := {"image", "index", "question", "answer"} - set(arrays):
        raise ValueError(
            f"{path}: has no {', '.join(sorted(lacking))}, so it is not of a split; embed it again"
        )
    return Embeddings(arrays["image"][arrays["index"]], arrays["question"], arrays["answer"])


def read_pool(path: str | Path) -> np.ndarray:
    """The embeddings of the pool (N, d)."""
    return read(path)["pool"]


def split_files(inputs: Any) -> list[dict[str, str]]:
    """`questions` and `embeddings` of both splits, among the inputs of a rule that has them."""
    pairs = zip(inputs.questions, inputs.embeddings, strict=True)
    return [{"questions": questions, "embeddings": embedded} for questions, embedded in pairs]


def logit_scale_of(summary_json: str | Path) -> float:
    """The factor of the model's cosines, in the summary of `embed.embed`."""
    return float(read_json(summary_json)["logit_scale"])
