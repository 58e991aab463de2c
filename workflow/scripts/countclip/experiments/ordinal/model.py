"""A CLIP that tells values: similarities of images and ordered concepts, and a head on them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.heads import Adapter, RatioHead
from countclip.experiments.ordinal.methods import Method
from countclip.experiments.ordinal.prompts import PLACE, FixedPrompts, LearntPrompts
from countclip.model.clip import Clip, unit_length
from countclip.model.heads import BoundedHead, Expectation
from countclip.training import checkpoints


class OrdinalClip(nn.Module):
    """A CLIP with prompts of K concepts, and the adapter and head of a method.

    New parameters come from torch's generator. Without an adapter and before any step, its
    similarities are CLIP's zero-shot ones.

    bins: of the concepts. prompt: with the place of a word (`prompts.PLACE`).
    logit_scale: factor on cosines; None is the CLIP's.
    """

    def __init__(
        self,
        clip: Clip,
        method: Method,
        bins: Bins,
        prompt: str,
        logit_scale: float | None = None,
    ) -> None:
        super().__init__()
        if not (clip.is_plain and hasattr(clip.model, "token_embedding")):
            raise ValueError(
                "model.name: ordinal regression puts words into CLIP's own text tower, which this"
                " model has not; use one of open_clip's ViT, RN and ConvNeXt models of CLIP's form"
            )
        self.clip, self.model, self.bins = clip, clip.model, bins
        self.logit_scale = logit_scale or self.model.logit_scale.exp().item()
        self.prompts = {
            "fixed": FixedPrompts,
            "learnt": LearntPrompts.of_words,
            "learnt_context": partial(LearntPrompts.of_words, context=True),
            "ranks": LearntPrompts.of_ranks,
        }[method.words](clip, prompt, bins.words)
        self.adapter = nn.Identity()
        if method.adapter:
            self.adapter = Adapter(self.model.text_projection.shape[1])
        if method.head == "bounded":
            self.head = BoundedHead(bins.midpoints, bins.half_widths)
        else:
            values = bins.starts if method.bin_value == "start" else bins.midpoints
            self.head = {"ratio": RatioHead, "expectation": Expectation}[method.head](values)

    def encode(self, images: Tensor) -> Tensor:
        """Embeddings (n, d), not normalised, of uint8 images (n, side, side, 3)."""
        return self.model.visual(self.clip.normalise(images)).float()

    def texts(self) -> Tensor:
        """Normalised embeddings (K, d) of the concepts' texts, in float32."""
        return unit_length(self.prompts(self.model))

    def adapted(self, embeddings: Tensor) -> Tensor:
        """Normalised embeddings (n, d) of images, as similarities are taken of them, in float32."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return unit_length(self.adapter(embeddings))

    def logits(self, embeddings: Tensor, texts: Tensor | None = None) -> Tensor:
        """Logit scale times cosine (n, K) of image embeddings and concepts, in float32.

        texts: of `texts`, where they are encoded already.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            texts = self.texts() if texts is None else texts
            return self.logit_scale * self.adapted(embeddings) @ texts.T

    @torch.no_grad()
    def predict(
        self, images: np.ndarray, rows: np.ndarray, batch: int = 64
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, K) of the concepts and the head's values (n,), float64, of the `rows`
        (n,) of uint8 images (m, side, side, 3)."""
        parts = []
        self.eval()
        with torch.autocast(self.model.logit_scale.device.type, enabled=False):
            texts = self.texts()  # once for all images
        for embeddings in self._encoded(images, rows, batch):
            logits = self.logits(embeddings, texts)
            parts.append(torch.cat([logits.softmax(1), self.head(logits)[:, None]], dim=1))
        table = torch.cat(parts).double().cpu().numpy()
        return table[:, :-1], table[:, -1]

    @torch.no_grad()
    def embed(
        self, images: np.ndarray, rows: np.ndarray, batch: int = 64
    ) -> tuple[np.ndarray, np.ndarray]:
        """`adapted` of the `rows` (n,) of uint8 images (m, side, side, 3), and `texts`."""
        self.eval()
        parts = [self.adapted(embeddings) for embeddings in self._encoded(images, rows, batch)]
        return torch.cat(parts).cpu().numpy(), self.texts().cpu().numpy()

    def _encoded(self, images: np.ndarray, rows: np.ndarray, batch: int) -> Iterator[Tensor]:
        device = self.model.logit_scale.device
        for start in range(0, len(rows), batch):
            yield self.encode(torch.from_numpy(images[rows[start : start + batch]]).to(device))

    def trained(self) -> nn.ModuleDict:
        """The parts that a training may change; the rest is the CLIP's."""
        parts = {"visual": self.model.visual, "adapter": self.adapter, "head": self.head}
        return nn.ModuleDict(parts | {"prompts": self.prompts})

    def save(self, path: str | Path, metadata: dict) -> None:
        """Publish the trained parts."""
        checkpoints.save(self.trained(), path, metadata)

    def load(self, path: str | Path) -> None:
        """Put published parts in place, beside the CLIP that they were trained from. ValueError for
        those of another method or model."""
        try:
            self.trained().load_state_dict(load_file(path))
        except RuntimeError as error:
            raise ValueError(
                f"{path}: not the weights of this method and model; train it again. {error}"
            ) from error


def make_model(
    clip: Clip, method: Method, task: dict[str, Any], logit_scale: float | None = None
) -> OrdinalClip:
    """The model of a method, with the concepts and the prompt that it has for a task."""
    if method.concepts == "numbers":
        bins = Bins.numbers(*task["values"])
        prompt = task["number_prompt"].replace("{number}", PLACE)
    else:
        bins, prompt = Bins.of_task(task), task["prompt"]
    return OrdinalClip(clip, method, bins, prompt, logit_scale)
