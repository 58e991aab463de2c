"""Preprocessing of images as open_clip has it for a model: size, resizing, mean and std."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from countclip.model.libraries import open_clip, transforms


@dataclass(frozen=True)
class Preprocessing:
    """What a model needs of an image, in open_clip's terms; the defaults are OpenAI's.

    size: side in pixels. interpolation: `bicubic` or `bilinear`. resize_mode: `shortest` crops the
    longer side, `longest` pads the shorter one with `fill_color`, `squash` keeps all and distorts.
    """

    size: int = 224
    mean: tuple[float, float, float] = open_clip.OPENAI_DATASET_MEAN
    std: tuple[float, float, float] = open_clip.OPENAI_DATASET_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def of(cls, *settings: Mapping[str, Any]) -> "Preprocessing":
        """From settings of open_clip, later ones over earlier ones; other keys say nothing here.

        ValueError for images that are no squares, or that open_clip does not know how to resize.
        """
        known = {field.name for field in fields(cls)}
        merged = {
            key: value
            for one in settings
            for key, value in one.items()
            if key in known and value is not None
        }
        sides = set(np.ravel(merged.get("size", cls.size)).tolist())
        if len(sides) > 1:
            raise ValueError(f"images of {merged['size']} pixels: only squares are packed here")
        for key in ("mean", "std"):
            if key in merged:
                merged[key] = tuple(np.broadcast_to(merged[key], 3).tolist())
        for key, choices in CHOICES.items():
            if merged.get(key, choices[0]) not in choices:
                raise ValueError(f"{key} {merged[key]!r}: must be one of {', '.join(choices)}")
        return cls(**merged | {"size": int(sides.pop())})

    def resize(self, image: Image.Image) -> np.ndarray:
        """uint8 (size, size, 3), as open_clip's own preprocessing has it before it normalises."""
        return np.asarray(self._resized(image.convert("RGB")))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (n, height, width, 3) -> float (n, 3, height, width) as the model expects it."""
        images = images.permute(0, 3, 1, 2).float() / 255
        mean, std = (
            torch.tensor(value).to(images).view(1, 3, 1, 1) for value in (self.mean, self.std)
        )
        return (images - mean) / std

    @cached_property
    def _resized(self) -> transforms.Compose:
        whole = open_clip.image_transform(
            self.size,
            is_train=False,
            resize_mode=self.resize_mode,
            interpolation=self.interpolation,
            fill_color=self.fill_color,
        )
        return transforms.Compose(
            [
                step
                for step in whole.transforms
                if not isinstance(step, transforms.ToTensor | transforms.Normalize)
            ]
        )


CHOICES = {
    "interpolation": ("bicubic", "bilinear", "random"),
    "resize_mode": ("shortest", "longest", "squash"),
}
"""Values that open_clip knows; `random` is bicubic but for its own trainings."""
