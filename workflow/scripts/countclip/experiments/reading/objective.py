"""The contrastive training of a reader on frozen embeddings, and its batches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from countclip.experiments.reading.clusters import Draws, FalseNegatives
from countclip.experiments.reading.embeddings import Embeddings
from countclip.experiments.reading.model import Reader
from countclip.model.clip import LARGEST_LOGIT_SCALE
from countclip.training.masked import MaskedClipLoss
from countclip.training.objective import Objective


@dataclass
class Pairs:
    """B questions with their images and answers, (B, d) each, and which wrong pairs are right,
    bool (B, B)."""

    image: Tensor
    question: Tensor
    answer: Tensor
    false_negatives: Tensor


class Batches:
    """The batches of a training: what `draws` draws, as embeddings. Images are the mean of their
    parts."""

    def __init__(
        self, embeddings: Embeddings, draws: Draws, false_negatives: FalseNegatives
    ) -> None:
        self.tensors = {
            name: torch.from_numpy(np.ascontiguousarray(array))
            for name, array in embeddings.by_name().items()
        }
        self.draws, self.false_negatives = draws, false_negatives
        self.size = draws.size

    @property
    def steps_per_epoch(self) -> int:
        return self.draws.steps_per_epoch

    def batch(self, step: int) -> Pairs:
        """The batch of a step, counted from 0: a function of the seed and the step alone."""
        rows = self.draws.rows(step)
        parts = {name: tensor[torch.from_numpy(rows)] for name, tensor in self.tensors.items()}
        return Pairs(**parts, false_negatives=torch.from_numpy(self.false_negatives.among(rows)))


class Frozen(Objective):
    """A reader that minimises the contrastive loss between queries and answers.

    Embeddings are small, so every process computes the whole batch.

    treatment: of false negatives, as `MaskedClipLoss` has it.
    """

    def __init__(self, reader: Reader, treatment: str) -> None:
        super().__init__()
        self.reader, self.loss = reader, MaskedClipLoss(treatment)

    def backward(self, batch: Pairs, seed: int) -> dict[str, Tensor]:
        device = self.reader.logit_scale.device
        image, question, answer = (
            tensor.to(device) for tensor in (batch.image, batch.question, batch.answer)
        )
        loss = self.loss(
            self.reader.query(image, question),
            self.reader.answer(answer),
            self.reader.logit_scale.exp(),
            batch.false_negatives,
        )
        loss.backward()
        return {"loss": loss.detach()}

    def after_step(self) -> None:
        with torch.no_grad():
            self.reader.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)

    def columns(self) -> dict[str, float]:
        return {"logit_scale": self.reader.logit_scale.exp().item()}

    def save(self, path: str | Path, metadata: dict[str, Any]) -> None:
        self.reader.save(path, metadata)
