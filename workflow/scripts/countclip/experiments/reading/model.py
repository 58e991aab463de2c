"""A reader: maps on frozen embeddings that turn image and question into an answer's embedding."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from countclip.experiments.reading.embeddings import Embeddings, logit_scale_of
from countclip.model.clip import unit_length
from countclip.training import checkpoints

ASKS = ("image", "question", "image+question")
"""What a query is made of."""


class Reader(nn.Module):
    """Queries and answers from embeddings (n, d) of unit length.

    Each map adds to its input and begins at zero, so an untrained reader is zero-shot CLIP: its
    query is the image, the question, or their weighted sum.

    asks: one of ASKS. image_weight: of the image in that sum, the rest is the question's.
    hidden: width of the query's map; 0 makes it linear, so that it cannot choose among signs.
    """

    def __init__(
        self,
        dimension: int,
        *,
        asks: str,
        hidden: int,
        logit_scale: float,
        image_weight: float = 0.5,
    ) -> None:
        super().__init__()
        if asks not in ASKS:
            raise ValueError(f"asks {asks!r}: must be one of {', '.join(ASKS)}")
        self.asks, self.image_weight = asks, image_weight
        width = dimension * (2 if asks == "image+question" else 1)
        self.first = nn.Linear(width, hidden) if hidden else nn.Identity()
        self.second = nn.Linear(hidden or width, dimension)
        self.answers = nn.Linear(dimension, dimension)
        for linear in (self.second, self.answers):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.logit_scale = nn.Parameter(torch.tensor(float(logit_scale)).log())

    def query(self, image: Tensor, question: Tensor) -> Tensor:
        """Embeddings (n, d) of unit length."""
        if self.asks == "image+question":
            start = self.image_weight * image + (1 - self.image_weight) * question
            inputs = torch.cat([image, question], dim=1)
        else:
            start = inputs = image if self.asks == "image" else question
        hidden = self.first(inputs)
        if not isinstance(self.first, nn.Identity):
            hidden = F.gelu(hidden)
        return unit_length(start + self.second(hidden))

    def answer(self, embeddings: Tensor) -> Tensor:
        """Embeddings (n, d) of unit length."""
        return unit_length(embeddings + self.answers(embeddings))

    def save(self, path: str | Path, metadata: dict[str, Any]) -> None:
        checkpoints.save(self, path, metadata)

    def load(self, path: str | Path) -> None:
        """Put published weights in place; ValueError for those of another reader."""
        try:
            self.load_state_dict(load_file(path))
        except RuntimeError as error:
            raise ValueError(
                f"{path}: not the weights of this reader; train it again. {error}"
            ) from error


def make_reader(dimension: int, summary_json: str, reader: dict[str, Any]) -> Reader:
    """A reader as the config has it (`asks`, `hidden`, `image_weight`), zero-shot so far.

    summary_json: of `embed.embed`.
    """
    return Reader(dimension, logit_scale=logit_scale_of(summary_json), **reader)


@torch.no_grad()
def queries_of(reader: Reader, embeddings: Embeddings) -> np.ndarray:
    """The queries of questions, (Q, d)."""
    reader.eval()
    device = reader.logit_scale.device
    parts = embeddings.by_name()
    image, question = (torch.from_numpy(parts[name]).to(device) for name in ("image", "question"))
    return reader.query(image, question).cpu().numpy()


@torch.no_grad()
def answers_of(reader: Reader, answers: np.ndarray) -> np.ndarray:
    """Embeddings (N, d) of answers as the reader compares them."""
    reader.eval()
    device = reader.logit_scale.device
    return reader.answer(torch.from_numpy(answers).to(device)).cpu().numpy()
