"""Normalised embeddings of images and texts, and their cosine similarities."""

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from countclip.model.clip import Clip, cut_padding, encode_image, encode_text, lengths
from countclip.model.libraries import Fabric
from countclip.runtime.files import progress
from countclip.runtime.gpus import least_busy_gpu

Key = TypeVar("Key")


@torch.inference_mode()
def embed_images(clip: Clip, images: np.ndarray, batch: int = 64, show: bool = False) -> Tensor:
    """Normalised embeddings (n, d) of images uint8 (n, size, size, 3)."""
    device = next(clip.model.parameters()).device
    clip.model.eval()
    embeddings = []
    starts = range(0, len(images), batch)
    for start in progress(starts, unit="batch", desc="images") if show else starts:
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).to(device)
        embeddings.append(encode_image(clip.model, clip.normalise(pixels)).float())
    return torch.cat(embeddings).cpu()


@torch.inference_mode()
def embed_texts(clip: Clip, tokens: np.ndarray, batch: int = 512, show: bool = False) -> Tensor:
    """Normalised embeddings (n, d) of token ids (n, length).

    Each distinct text goes through the text tower once; texts of like length share a batch, so that
    little padding is encoded.
    """
    device = next(clip.model.parameters()).device
    clip.model.eval()
    distinct, place = np.unique(tokens, axis=0, return_inverse=True)
    order = np.argsort(lengths(distinct, clip.pad), kind="stable")
    embeddings = []
    starts = range(0, len(order), batch)
    for start in progress(starts, unit="batch", desc="captions") if show else starts:
        ids = cut_padding(distinct[order[start : start + batch]], clip.pad).astype(np.int64)
        text = encode_text(clip.model, torch.from_numpy(ids).to(device))
        embeddings.append(text.float())
    return torch.cat(embeddings).cpu()[np.argsort(order)[place.reshape(-1)]]


def embed(
    clip: Clip, images: np.ndarray, tokens: np.ndarray, batch: int = 64, show: bool = False
) -> tuple[Tensor, Tensor]:
    """Normalised embeddings (n, d) of images (n, size, size, 3), and (n, C, d) of their captions'
    token ids (n, C, length).

    batch: images at a time, and as many times C captions. On two CPU cores eight of ViT-B/32 were
        a third faster than 64, whose activations do not stay in the cache; a GPU wants hundreds.
    """
    n, captions, length = tokens.shape
    text = embed_texts(clip, tokens.reshape(-1, length), batch * captions, show)
    return embed_images(clip, images, batch, show), text.reshape(n, captions, -1)


def similarities(clip: Clip, images: np.ndarray, tokens: np.ndarray, **how: Any) -> np.ndarray:
    """Cosine similarities (n, C) of images (n, size, size, 3) and token ids (n, C, length); `how`
    as `embed` has it."""
    return cosines(*embed(clip, images, tokens, **how))


@torch.autocast("cpu", enabled=False)  # bfloat16 would make many of them equal
def cosines_of_all(image: Tensor, text: Tensor) -> np.ndarray:
    """(n, m) of normalised embeddings (n, d) and (m, d), float32."""
    return (image @ text.T).numpy()


@torch.autocast("cpu", enabled=False)
def cosines(image: Tensor, text: Tensor) -> np.ndarray:
    """(n, C) of normalised embeddings (n, d) and (n, C, d), float32."""
    return torch.einsum("nd,ncd->nc", image, text).numpy()


def fabric_of(accelerator: str, precision: str, threads: int) -> Fabric:
    """The device and precision of an evaluation; sets torch for them in the whole process."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # or a GPU rounds images as no CPU does
    return Fabric(
        accelerator=accelerator, devices=least_busy_gpu(accelerator, 1), precision=precision
    )


def each_checkpoint(
    checkpoints: dict[Key, str | None], model: dict[str, Any], fabric: Fabric
) -> Iterator[tuple[Key, Clip]]:
    """Each checkpoint's key and model, on its device and, until the next, under its autocast.

    checkpoints: key -> weights; None stands for the pretrained ones. model: `name`, `pretrained`
    and `config` of `Clip`.
    """
    for key, weights in checkpoints.items():
        clip = Clip(**model, weights=weights)
        clip.model.to(fabric.device)
        with fabric.autocast():
            yield key, clip
