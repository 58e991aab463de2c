"""Small members of open_clip's families with random weights, from JSON as users write it."""

import json
from pathlib import Path
from typing import Any

import torch

from countclip.model.clip import Clip

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SIGLIP_TEXT = TEXT | {
    "context_length": 64,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
VIT = {"image_size": 64, "patch_size": 16, "layers": 2, "width": 32, "head_width": 16}
OF_SIGLIP = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}

MEMBERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vit": ({"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT}, {}),
    "vit_large_view": (
        {"embed_dim": 24, "vision_cfg": VIT | {"image_size": 80}, "text_cfg": TEXT},
        {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"},
    ),
    "resnet": (
        {
            "embed_dim": 24,
            "vision_cfg": {"image_size": 64, "layers": [1] * 4, "width": 8, "patch_size": None},
            "text_cfg": TEXT,
        },
        {"resize_mode": "longest", "fill_color": 7},
    ),
    "convnext": (
        {
            "embed_dim": 24,
            "vision_cfg": {
                "image_size": 96,
                "timm_model_name": "test_convnext",
                "timm_pool": "",
                "timm_proj": "linear",
            },
            "text_cfg": TEXT,
        },
        {"mean": [0.48, 0.45, 0.4], "interpolation": "bilinear"},
    ),
    "siglip": (
        {
            "embed_dim": 96,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 160,
                "timm_model_name": "test_vit3",
                "timm_pool": "map",
                "timm_proj": "none",
            },
            "text_cfg": SIGLIP_TEXT | {"width": 64},
        },
        OF_SIGLIP,
    ),
    "siglip2": (
        {
            "embed_dim": 24,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": VIT | {"pool_type": "avg"},
            "text_cfg": SIGLIP_TEXT | {"act_kwargs": {"approximate": "tanh"}},
        },
        OF_SIGLIP | {"interpolation": "bilinear"},
    ),
    "coca": (
        {
            "embed_dim": 32,
            "custom_text": True,
            "vision_cfg": VIT
            | {
                "attentional_pool": True,
                "attn_pooler_heads": 4,
                "attn_pooler_queries": 8,
                "output_tokens": True,
            },
            "text_cfg": TEXT | {"context_length": 76, "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {
                "context_length": 76,
                "vocab_size": 49408,
                "width": 32,
                "heads": 2,
                "layers": 1,
                "attn_pooler_heads": 2,
            },
        },
        {},
    ),
    "eva": (
        {
            "embed_dim": 24,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 224,
                "timm_model_name": "eva02_tiny_patch14_224",
                "timm_pool": "token",
                "timm_proj": "linear",
            },
            "text_cfg": TEXT,
        },
        {},
    ),
}
"""Family -> architecture and preprocessing, as `open_clip_config.json` has them."""


def write_config(family: str, folder: Path) -> Path:
    """The JSON of a member, alone in a folder of its own."""
    architecture, preprocessing = MEMBERS[family]
    path = folder / family / "open_clip_config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"model_cfg": architecture, "preprocess_cfg": preprocessing}
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def make(family: str, folder: Path) -> Clip:
    """The member with random weights, which are the same each time."""
    torch.manual_seed(0)
    return Clip(f"small-{family}", None, str(write_config(family, folder)))
