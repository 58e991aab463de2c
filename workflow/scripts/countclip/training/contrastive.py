"""CLIP under a criterion over the embeddings of a whole batch: the objective of fine-tuning."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from countclip.model.clip import (
    LARGEST_LOGIT_SCALE,
    Clip,
    encode_image,
    encode_text,
    text_tower,
)
from countclip.model.interpolation import interpolate
from countclip.model.libraries import Fabric
from countclip.training import checkpoints, cpu, trainable
from countclip.training.batches import Batch
from countclip.training.cpu import TokenGradient
from countclip.training.grad_cache import GradCache, Tower
from countclip.training.objective import Objective


class Contrastive(Objective):
    """A CLIP that minimises a criterion (losses.py), with one pass of each tower a step.

    tower, last_blocks, lora_rank, train_logit_scale: what is trained (`trainable.choose`).
    micro_batch: images, and captions, that are computed at a time (`GradCache`).
    wise_ft: alpha of the weights that are published, (1 - alpha) pretrained + alpha trained.
    """

    def __init__(
        self,
        clip: Clip,
        criterion: nn.Module,
        *,
        tower: str = "both",
        last_blocks: int | None = None,
        lora_rank: int | None = None,
        train_logit_scale: bool = True,
        micro_batch: int | None = None,
        wise_ft: float = 1.0,
    ) -> None:
        super().__init__()
        self.clip, self.model, self.criterion = clip, clip.model, criterion
        self.micro_batch, self.wise_ft = micro_batch, wise_ft
        self.choice = {
            "tower": tower,
            "last_blocks": last_blocks,
            "lora_rank": lora_rank,
            "logit_scale": train_logit_scale,
        }

    def setup(self, fabric: Fabric) -> None:
        by_batch = any(isinstance(module, nn.BatchNorm2d) for module in self.model.modules())
        if by_batch and (self.micro_batch or fabric.world_size > 1):
            raise ValueError(
                "training.micro_batch and training.devices: this model normalises by the statistics"
                " of a batch, which no piece of it has; set them to null and 1, or use a vision"
                " transformer"
            )
        trainable.choose(self.model, **self.choice)
        super().setup(fabric)
        self.device = fabric.device
        self.pretrained = trainable.to_interpolate(self.model) if self.wise_ft < 1 else {}
        towers = [
            Tower(encode, list(trainable.parameters(self.model, name).values()))
            for name, encode in (("image", self._encode_image), ("text", self._encode_text))
        ]
        self.grad_cache = GradCache(fabric, towers, self.micro_batch)
        with fabric.autocast():
            self.bfloat16_on_cpu = self.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if self.bfloat16_on_cpu:
            cpu.patches_by_product(self.model)
        self.token_gradient = None
        table = getattr(text_tower(self.model), "token_embedding", None)
        if self.device.type == "cpu" and table is not None and table.weight.requires_grad:
            self.token_gradient = TokenGradient(table, self.clip.pad)

    def train(self, mode: bool = True) -> "Contrastive":
        super().train(mode)
        if mode:
            trainable.freeze_statistics(self.model)
        return self

    def backward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        if self.token_gradient:
            self.token_gradient.prepare(batch.tokens)

        def criterion(image: Tensor, text: Tensor) -> dict[str, Tensor]:
            return self.criterion(image, text, batch, self.model.logit_scale.exp())

        return self.grad_cache.backward((batch.images, batch.tokens), criterion, seed)

    def after_step(self) -> None:
        """Clamp CLIP's logit scale; a sigmoid loss has none, and SigLIP's weights are above it."""
        if self.bias is None:
            with torch.no_grad():
                self.model.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)

    def columns(self) -> dict[str, float]:
        columns = {"logit_scale": self.model.logit_scale.exp().item()}
        return columns if self.bias is None else columns | {"logit_bias": self.bias.item()}

    @property
    def bias(self) -> nn.Parameter | None:
        """Bias of the logits of a model that was trained with a sigmoid loss."""
        return getattr(self.model, "logit_bias", None)

    @contextmanager
    def published(self) -> Iterator[None]:
        """Within, the model has the weights that are published: those of WiSE-FT
        (`interpolate`) where `wise_ft` is below 1."""
        parameters = dict(self.model.named_parameters())
        trained = {name: parameters[name].detach().clone() for name in self.pretrained}
        between = interpolate(self.pretrained, trained, self.wise_ft)
        self.model.load_state_dict(between, strict=False)
        try:
            yield
        finally:
            self.model.load_state_dict(trained, strict=False)

    def save(self, path: str | Path, metadata: dict[str, Any]) -> None:
        """Publish the CLIP under open_clip's names. What the criterion trains, such as a head,
        stands as lists in the file's header, for open_clip takes no tensors that it does not know.
        """
        trained = {name: value.tolist() for name, value in self.criterion.state_dict().items()}
        more = {"criterion": trained} if trained else {}
        with self.published():
            checkpoints.save(self.model, path, metadata | more)

    def _encode_image(self, images: Tensor) -> Tensor:
        with self._attention():
            images = images.to(self.device, non_blocking=True)
            return encode_image(self.model, self.clip.normalise(images))

    def _encode_text(self, tokens: Tensor) -> Tensor:
        with self._attention():
            return encode_text(self.model, tokens.to(self.device, non_blocking=True))

    def _attention(self) -> AbstractContextManager:
        """torch's fused attention for bfloat16 on CPUs has a backward pass that is slower, on the
        few tokens of CLIP, than plain matrix products."""
        return sdpa_kernel(SDPBackend.MATH) if self.bfloat16_on_cpu else nullcontext()
