"""The objective of ordinal regression: the image tower and a method's parts learn from labels."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from countclip.experiments.ordinal import losses
from countclip.experiments.ordinal.batches import LabelledImages
from countclip.experiments.ordinal.methods import Method
from countclip.experiments.ordinal.model import OrdinalClip
from countclip.model.libraries import Fabric
from countclip.training import trainable
from countclip.training.grad_cache import GradCache, Tower
from countclip.training.objective import Objective
from countclip.training.ordinal_losses import sord


class Ordinal(Objective):
    """An `OrdinalClip` that minimises the sum of a method's losses; its text tower is frozen.

    head_rate, word_rate: highest learning rates of head and adapter, and of learnt words; None is
        the optimizer's.
    micro_batch: images that are computed at a time (`GradCache`).
    """

    def __init__(
        self,
        ordinal: OrdinalClip,
        method: Method,
        *,
        head_rate: float | None = None,
        word_rate: float | None = None,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__()
        if not method.losses:
            raise ValueError(f"method {method.name} is not trained: it has no losses")
        self.ordinal, self.method = ordinal, method
        self.head_rate, self.word_rate = head_rate, word_rate
        self.micro_batch = micro_batch
        bins = ordinal.bins
        positions = range(len(bins)) if method.distance == "index" else bins.midpoints
        self.fcrc = losses.Fcrc(
            torch.tensor(positions, dtype=torch.float32),
            method.form,
            method.normaliser,
            method.margin * ordinal.logit_scale,
        )

    def setup(self, fabric: Fabric) -> None:
        model = self.ordinal.model
        by_batch = any(isinstance(module, nn.BatchNorm2d) for module in model.visual.modules())
        if by_batch and (self.micro_batch or fabric.world_size > 1):
            raise ValueError(
                "micro_batch and devices: this model normalises by the statistics of a batch, which"
                " no piece of it has; set them to null and 1, or use a vision transformer"
            )
        trainable.choose(model, tower="image", last_blocks=None, lora_rank=None, logit_scale=False)
        super().setup(fabric)
        tower = Tower(
            lambda images: self.ordinal.encode(images.to(fabric.device, non_blocking=True)),
            list(model.visual.parameters()),
        )
        self.grad_cache = GradCache(fabric, [tower], self.micro_batch)

    def groups(self) -> list[dict[str, Any]]:
        """The image tower; head and adapter, and learnt words, where there are any."""
        ordinal = self.ordinal
        heads = [*ordinal.adapter.parameters(), *ordinal.head.parameters()]
        groups: list[dict[str, Any]] = [{"params": list(ordinal.model.visual.parameters())}]
        for parameters, rate in (
            (heads, self.head_rate),
            (list(ordinal.prompts.parameters()), self.word_rate),
        ):
            if parameters:
                groups.append({"params": parameters} | ({"lr": rate} if rate else {}))
        return groups

    def backward(self, batch: LabelledImages, seed: int) -> dict[str, Tensor]:
        def criterion(embeddings: Tensor) -> dict[str, Tensor]:
            return self.losses_of(self.ordinal.logits(embeddings), batch.labels)

        return self.grad_cache.backward((batch.images,), criterion, seed)

    def losses_of(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Each of the method's losses, and their sum `loss`, of logits (B, K) and labels (B,)."""
        bins = torch.from_numpy(self.ordinal.bins.of(labels)).to(logits.device)
        parts = {}
        for name in self.method.losses:
            if name == "image_to_text":
                parts[name] = self.fcrc.image_to_text(logits, bins)
            elif name == "text_to_image":
                parts[name] = self.fcrc.text_to_image(logits, bins)
            elif name == "l1":
                parts[name] = losses.absolute_error(self.ordinal.head(logits), labels)
            elif name == "sord":
                parts[name] = sord(logits, bins, self.fcrc.distances)
            elif name == "emd":
                parts[name] = losses.squared_emd(logits, bins)
            else:
                raise ValueError(f"method {self.method.name}: unknown loss {name!r}")
        return {f"loss_{name}": value for name, value in parts.items()} | {
            "loss": torch.stack(list(parts.values())).sum()
        }

    def save(self, path: str | Path, metadata: dict[str, Any]) -> None:
        """Publish what was trained: image tower, adapter, head, learnt words."""
        self.ordinal.save(path, metadata)
