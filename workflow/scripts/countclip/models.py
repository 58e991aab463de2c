"""Which CLIP is it? The one place that builds, loads and saves an open_clip model."""

import gzip
import json
from collections.abc import Iterable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save as to_bytes
from torch import Tensor

from countclip import tuning
from countclip.files import publish, resource

LARGEST_LOGIT_SCALE = float(np.log(100))
"""CLIP clips the learnt logit scale (a logarithm) so that logits are never scaled by over 100."""


PREPROCESSING = {
    "mean": open_clip.OPENAI_DATASET_MEAN,
    "std": open_clip.OPENAI_DATASET_STD,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
"""What a picture goes through before any model here (`batches.resize`, `Clip.normalise`), as
open_clip has it: a file of weights does not say, and gets this."""


class Clip:
    """An open_clip model with its tokenizer and the numbers that its images need.

    name: open_clip's model name. For weights that were trained with QuickGELU, such as OpenAI's and
        LAION-400M's, a `-quickgelu` one: under the plain name they silently compute something else.
    pretrained: a tag that open_clip knows (`openai`), a file (.safetensors), or None (random).
    config: a JSON file of open_clip's form that registers `name`; None for open_clip's own models.
        `<name>.merges.txt.gz` beside it replaces the tokenizer's vocabulary.
    """

    def __init__(self, name: str, pretrained: str | None, config: str | None = None) -> None:
        _architecture(name, config)
        merges = config and Path(resource(config)).with_name(f"{name}.merges.txt.gz")
        self.model = open_clip.create_model(name, pretrained=_weights(name, pretrained))
        # What `encode_text` computes. Other towers would be read at the wrong token.
        if (
            getattr(self.model, "text_pool_type", None) != "argmax"
            or getattr(self.model, "attn_mask", None) is None
        ):
            raise ValueError(
                f"model.name {name}: its text tower is not CLIP's (causal, read at the end token);"
                " use one of open_clip's ViT and RN models of the same form"
            )
        self.tokenizer = open_clip.get_tokenizer(
            name, **({"bpe_path": str(merges)} if merges and merges.exists() else {})
        )
        preprocessing = open_clip.get_model_preprocess_cfg(self.model)
        self.image_size = int(np.max(preprocessing["size"]))
        self.mean = torch.tensor(preprocessing["mean"])
        self.std = torch.tensor(preprocessing["std"])

    @property
    def token_limit(self) -> int:
        """Tokens that a caption may have, without the start and end tokens."""
        return self.tokenizer.context_length - 2

    def tokenize(self, captions: Iterable[str]) -> np.ndarray:
        """Token ids (n, length of the longest caption), uint16, padded with 0."""
        return cut_padding(self.tokenizer(list(captions)).numpy().astype(np.uint16))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (n, height, width, 3) -> float (n, 3, height, width) as the model expects it."""
        images = images.permute(0, 3, 1, 2).float() / 255
        shape = (1, 3, 1, 1)
        return (images - self.mean.to(images).view(shape)) / self.std.to(images).view(shape)


def _weights(name: str, pretrained: str | None) -> str | None:
    """What open_clip loads into the model `name`: a file or a tag; ValueError where it cannot."""
    if pretrained is None:
        return None
    path = Path(resource(pretrained))
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ValueError(
                f"model.pretrained {pretrained}: weights are read from a .safetensors file alone;"
                " other kinds may run whatever their maker put in"
            )
        return str(path)
    known = open_clip.get_pretrained_cfg(name, pretrained)
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(
            f"model.pretrained {pretrained}: there is no such file, and open_clip knows no such"
            f" weights for {name} (it knows {tags})"
        )
    if known.get("quick_gelu") and not open_clip.get_model_config(name).get("quick_gelu"):
        raise ValueError(
            f"model.name {name}, pretrained {pretrained}: those weights were trained with"
            f" QuickGELU; use {name}-quickgelu"
        )
    other = [
        f"{key} {known[key]}"
        for key, value in PREPROCESSING.items()
        if known.get(key, value) != value
    ]
    if other:
        raise ValueError(
            f"model.pretrained {pretrained}: those weights need pictures of {', '.join(other)};"
            " here all are prepared as OpenAI's CLIP has them, so use other weights"
        )
    return pretrained


def image_size(name: str, config: str | None = None) -> int:
    """The side in pixels of the square that a model sees; its weights are not needed for that."""
    return int(np.max(_architecture(name, config)["vision_cfg"]["image_size"]))


def _architecture(name: str, config: str | None) -> dict[str, Any]:
    """What open_clip builds as `name`, which `config` registers; ValueError where it cannot."""
    if ":" in name:  # hf-hub:..., local-dir:...
        raise ValueError(
            f"model.name {name}: such a name brings its own weights, and open_clip would never read"
            " fine-tuned ones; use a plain name, and the weights' file as model.pretrained"
        )
    if config is not None:
        if Path(config).name != f"{name}.json":
            raise ValueError(
                f"model.config {config}: open_clip takes a model's name from its file's; call it"
                f" {name}.json, or model.name {Path(config).stem}"
            )
        open_clip.add_model_config(resource(config))
    known = open_clip.get_model_config(name)
    if known is None:
        raise ValueError(f"model.name {name}: open_clip has no such model; name its model.config")
    return known


def cut_padding(tokens: np.ndarray) -> np.ndarray:
    """Cut token ids (..., context) to the longest caption; the end token has the highest id."""
    return tokens[..., : tokens.argmax(axis=-1).max(initial=0) + 1]


def encode_image(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Normalised embeddings (n, d) of images that `Clip.normalise` has prepared."""
    return unit_length(model.visual(images))


def patches_by_product(model: torch.nn.Module) -> None:
    """Let a vision transformer cut its patches by a matrix product, which is what its first
    convolution is: in bfloat16 on a CPU the convolution's gradient took 7 % of a step and more.
    Weights and their names stay; other kinds of towers are left alone.
    """
    convolution = getattr(model.visual, "conv1", None)
    if getattr(convolution, "kernel_size", 0) == getattr(convolution, "stride", 1):
        convolution.forward = partial(_patches, convolution)


def _patches(convolution: torch.nn.Conv2d, images: Tensor) -> Tensor:
    """(n, 3, height, width) -> (n, d, rows, columns)."""
    n, channels, height, width = images.shape
    down, right = convolution.kernel_size
    cut = images.reshape(n, channels, height // down, down, width // right, right)
    cut = cut.permute(0, 2, 4, 1, 3, 5).flatten(3)
    return F.linear(cut, convolution.weight.flatten(1), convolution.bias).permute(0, 3, 1, 2)


def encode_text(model: torch.nn.Module, tokens: Tensor) -> Tensor:
    """Normalised embeddings (n, d) of token ids (n, length), where length may be under the context.

    CLIP's text tower is causal and pools at the end token, so what stands behind the longest
    caption of a batch changes nothing; leaving it out saves most of the tower's work.
    """
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    return unit_length(x @ model.text_projection)


def unit_length(embeddings: Tensor) -> Tensor:
    """Normalised embeddings, in float32 or wider: autocast on a CPU would leave bfloat16, lengths
    some thousandths off one, and of equally similar captions the longest vector would win."""
    wide = torch.promote_types(embeddings.dtype, torch.float32)
    return F.normalize(embeddings.to(wide), dim=-1)


def save(model: torch.nn.Module, path: str | Path, about: dict[str, Any]) -> None:
    """Publish the weights as safetensors; `about` (model name, digest, step...) is metadata."""
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in tuning.state_dict(model).items()
    }
    with publish(path) as temporary:
        temporary.write_bytes(to_bytes(state, {"about": json.dumps(about, sort_keys=True)}))


def versions() -> dict[str, str]:
    """Of the libraries that decide what a model computes."""
    names = ("torch", "open_clip_torch", "lightning-fabric", "safetensors", "numpy")
    return {name: metadata.version(name) for name in names}


def cut_merges(words: Iterable[str], path: str | Path) -> int:
    """Write the BPE merges of CLIP's tokenizer that `words` need, in CLIP's order; return how many.

    The words get the same tokens as CLIP gives them; other text falls into smaller pieces. A small
    vocabulary keeps the embedding table of a small model small.
    """
    full = open_clip.get_tokenizer("ViT-B-32")
    parents = {first + second: (first, second) for first, second in full.bpe_ranks if first}
    needed: set[tuple[str, str]] = set()
    pending = [full.decoder[token] for word in words for token in full.encode(word)]
    while pending:
        if (merge := parents.get(pending.pop())) and merge not in needed:
            needed.add(merge)
            pending.extend(merge)
    lines = [" ".join(merge) for merge in sorted(needed, key=full.bpe_ranks.__getitem__)]
    text = "\n".join(["#version: cut from CLIP's", *lines])
    with publish(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # equal merges, equal bytes
    return len(lines)
