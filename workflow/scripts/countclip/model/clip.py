"""CLIP models: the one place that builds and loads one of open_clip."""

import json
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from countclip.model.libraries import open_clip
from countclip.runtime.files import read_json
from countclip.runtime.machine import raise_machine_error
from countclip.runtime.resources import resource

LARGEST_LOGIT_SCALE = float(np.log(100))
"""CLIP clips the learnt logit scale (a logarithm) so that logits are never scaled by over 100."""


PREPROCESSING = {
    "mean": open_clip.OPENAI_DATASET_MEAN,
    "std": open_clip.OPENAI_DATASET_STD,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
"""Preprocessing of an image for any model here (`inputs.resize`, `Clip.normalise`), in open_clip's
terms: a file of weights does not say which it needs, and gets this."""


class Clip:
    """An open_clip model with its tokenizer and the numbers that its images need.

    name: open_clip's model name. For weights that were trained with QuickGELU, such as OpenAI's and
        LAION-400M's, a `-quickgelu` one: under the plain name they silently compute something else.
    pretrained: a tag that open_clip knows (`openai`), a file (.safetensors), or None (random).
    config: a JSON file of open_clip's form that registers `name`; None for a model of open_clip.
        `<name>.merges.txt.gz` beside it replaces the tokenizer's vocabulary.
    """

    def __init__(self, name: str, pretrained: str | None, config: str | None = None) -> None:
        _architecture(name, config)
        merges = config and Path(resource(config)).with_name(f"{name}.merges.txt.gz")
        self.model = _model(name, pretrained)
        # As `encode_text` computes it. Other towers would be read at the wrong token.
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


def _model(name: str, pretrained: str | None) -> torch.nn.Module:
    """The model with its weights; ConnectionError where open_clip cannot download these."""
    weights = _weights(name, pretrained)
    try:
        return _load(name, weights)
    except (RuntimeError, OSError, ValueError) as error:
        if weights is None or Path(weights).is_file():
            raise
        raise_machine_error(error)
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ConnectionError(
            f"model.pretrained {pretrained}: these weights of {name} could not be downloaded: this"
            " machine seems to be offline, or behind a proxy that it cannot use; restore the"
            " network and run again, or name a .safetensors file of yours as model.pretrained"
            f" [{reason[0]}]"
        ) from error


def _weights(name: str, pretrained: str | None) -> str | None:
    """The file or tag that open_clip loads into the model `name`; ValueError where it cannot."""
    if pretrained is None:
        return None
    path = Path(resource(pretrained))
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ValueError(
                f"model.pretrained {pretrained}: weights are read from a .safetensors file alone;"
                " other kinds may run code of their maker. Convert one that you trust:\n"
                f"  {CONVERT}"
            )
        return str(path)
    published = open_clip.get_pretrained_cfg(name, pretrained)
    if not published:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(
            f"model.pretrained {pretrained}: there is no such file, and open_clip knows no such"
            f" weights for {name} (it knows {tags})"
        )
    if published.get("quick_gelu") and not open_clip.get_model_config(name).get("quick_gelu"):
        raise ValueError(
            f"model.name {name}, pretrained {pretrained}: those weights were trained with"
            f" QuickGELU; use {name}-quickgelu"
        )
    other = [
        f"{key} {published[key]}"
        for key, value in PREPROCESSING.items()
        if published.get(key, value) != value
    ]
    if other:
        raise ValueError(
            f"model.pretrained {pretrained}: those weights need images of {', '.join(other)};"
            " here all are prepared as OpenAI's CLIP has them, so use other weights"
        )
    return pretrained


CONVERT = """python -c "import torch; from safetensors.torch import save_file; \
w = torch.load('weights.pt', map_location='cpu', weights_only=True); \
save_file(w.get('state_dict', w), 'weights.safetensors')\""""
RENAME = """python -c "from safetensors.torch import load_file, save_file; \
w = load_file({file!r}); p = {prefix!r}; \
save_file({{k[len(p):]: w[k] for k in w if k.startswith(p)}}, 'plain.safetensors')\""""
WRAPPERS = {
    "module.": "DistributedDataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "Lightning",
    "state_dict.": "a checkpoint",
}
"""What puts its name before those of a model's tensors."""


def _load(name: str, weights: str | None) -> torch.nn.Module:
    """open_clip's model with the weights of a tag or file; ValueError for another model's file."""
    try:
        return open_clip.create_model(name, pretrained=weights)
    except (RuntimeError, SafetensorError, KeyError, IndexError, StopIteration) as error:
        if weights is None or not Path(weights).is_file():
            raise
        why = _why_foreign(weights, error)
        raise ValueError(f"{weights}: not the weights of a {name}: {why}") from error


def _why_foreign(file: str, error: Exception) -> str:
    """What a file of weights holds instead of a model's, in a few lines, and what to do."""
    try:
        with safe_open(file, framework="pt") as tensors:
            names = list(tensors.keys())
    except (OSError, SafetensorError) as broken:
        with open(file, "rb") as start:
            first = start.read(40)
        if first.startswith((b"PK\x03\x04", b"\x80")):  # torch.save's, as a zip or bare
            return f"it is a pickle by another name; convert it, if you trust it:\n  {CONVERT}"
        if first.startswith(b"version https://git-lfs"):
            return "it is Git LFS's pointer to them; get the file itself with git lfs pull"
        return f"it is no whole .safetensors file ({broken}); get it anew"
    if any(".lora_" in name for name in names):
        return "it holds low-rank additions (LoRA) alone; merge them into their model and save that"
    if any("vision_model." in name or "text_model." in name for name in names):
        return (
            "its tensors have the names of Hugging Face transformers, here open_clip's are read;"
            " set model.pretrained to open_clip's tag of the same weights (such as openai), or to"
            " the file open_clip_model.safetensors, which is often in the same repository"
        )
    prefixes = {name.partition("token_embedding.weight")[0] for name in names
                if name.endswith("token_embedding.weight")}  # fmt: skip
    for prefix in prefixes - {""}:
        if any(name.startswith(f"{prefix}visual.") for name in names):
            by = " and ".join(who for word, who in WRAPPERS.items() if f".{word}" in f".{prefix}")
            return (
                f"its tensors' names begin with {prefix!r}{by and f', of {by}'}; save them without,"
                f" and name that file:\n  {RENAME.format(file=file, prefix=prefix)}"
            )
    lines = str(error).splitlines()[1:] or [repr(error)]
    differences = "\n  ".join(textwrap.shorten(line, 200, placeholder=" ...") for line in lines[:3])
    return (
        f"\n  {differences}\n  Set model.name to the model whose weights these are, or"
        " model.pretrained to weights of this one"
    )


def image_size(name: str, config: str | None = None) -> int:
    """The side in pixels of the square that a model sees; its weights are not needed for that."""
    return int(np.max(_architecture(name, config)["vision_cfg"]["image_size"]))


def _architecture(name: str, config: str | None) -> dict[str, Any]:
    """The architecture of `name`, which `config` registers; ValueError where there is none."""
    if ":" in name:  # hf-hub:..., local-dir:...
        raise ValueError(
            f"model.name {name}: such a name brings weights with it, and open_clip would never read"
            " fine-tuned ones; use a plain name, and the weights' file as model.pretrained"
        )
    if config is not None:
        if Path(config).name != f"{name}.json":
            raise ValueError(
                f"model.config {config}: open_clip takes a model's name from its file's; call it"
                f" {name}.json, or model.name {Path(config).stem}"
            )
        with tempfile.TemporaryDirectory() as folder:  # open_clip reads no UTF-8 with a mark
            copy = Path(folder, f"{name}.json")
            copy.write_text(json.dumps(read_json(resource(config))), encoding="utf-8")
            open_clip.add_model_config(copy)
    architecture = open_clip.get_model_config(name)
    if architecture is None:
        raise ValueError(f"model.name {name}: open_clip has no such model; name its model.config")
    return architecture


def cut_padding(tokens: np.ndarray) -> np.ndarray:
    """Cut token ids (..., context) to the longest caption; the end token has the highest id."""
    return tokens[..., : tokens.argmax(axis=-1).max(initial=0) + 1]


def encode_image(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Normalised embeddings (n, d) of images that `Clip.normalise` has prepared."""
    return unit_length(model.visual(images))


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
