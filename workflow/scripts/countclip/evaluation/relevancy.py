"""Relevancy: how much the number word of a caption matters to its similarity with the image.

Paiss et al. (2023) show it with the relevancy maps of Chefer et al. (2021), which need the
attention inside a model. Here it is integrated gradients (Sundararajan et al., 2017, Eq. 1) over
the embeddings of the caption's tokens, from nothing (zeros between the start and the end token) to
the caption. They need only that a model has an embedding layer, and the tokens' attributions add
up to what the caption's words do to the similarity. Gradient x input, which is simpler, agreed far
less with what leaving out single tokens does to it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from countclip.data import captions, number_words
from countclip.model import embeddings
from countclip.model.clip import Clip, cut_padding, encode_text, token_table
from countclip.runtime.files import progress, write_table

STEPS = 32
"""Points of the path where the gradient is taken. With these the sum of a caption's attributions is
off by 1 % on average, in the miniature."""


def attributions(clip: Clip, image: Tensor, tokens: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """What each token adds to the cosine similarity of captions with their images, (n, length):
    integrated gradients, by Gauss-Legendre quadrature. The start and end tokens have none.

    image: normalised embeddings (n, d). tokens: ids (n, length).
    """
    device = next(clip.model.parameters()).device
    image = image.to(device, copy=True)  # out of inference mode, which knows no gradients
    seen = clip.whole(tokens)
    ids = torch.from_numpy(seen.astype(np.int64)).to(device)
    words = torch.from_numpy(clip.words(seen)).to(device)[..., None]
    layer = token_table(clip.model)
    clip.model.eval().requires_grad_(False)
    whole, total = layer(ids), 0.0
    places, weights = np.polynomial.legendre.leggauss(steps)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        part = torch.where(words, place * whole, whole).requires_grad_()
        handle = layer.register_forward_hook(lambda *_, part=part: part)
        try:
            similarity = (encode_text(clip.model, ids) * image).sum()
        finally:
            handle.remove()
        total = total + weight * torch.autograd.grad(similarity, part)[0]
    return (total * whole * words).sum(dim=-1).cpu().numpy()[:, : tokens.shape[1]]


def _words(tokens: np.ndarray) -> np.ndarray:
    """Which ids (n, length) are of a caption's words: not the start, the end, or what follows."""
    place = np.arange(tokens.shape[1])
    return (place > 0) & (place < tokens.argmax(axis=1)[:, None])


def shares(
    attribution: np.ndarray, tokens: np.ndarray, words: np.ndarray | None = None
) -> np.ndarray:
    """Sizes of the attributions (n, length) as shares of their sum over the tokens of its words.
    Where nothing matters all matter alike.

    words: of `Clip.words`; by default those between CLIP's start and end tokens.
    """
    words = _words(tokens) if words is None else words
    size = np.abs(attribution) * words
    size[size.sum(axis=1) == 0] = 1
    return size * words / (size * words).sum(axis=1, keepdims=True)


def word_span(clip: Clip, caption: str, number: int) -> tuple[int, int]:
    """The token ids of a caption's number word: first, and one after the last."""
    word, start = number_words.word_for(caption, number), _start(clip)
    ends = (word.start, word.end)
    first, last = (start + len(clip.encode(caption[:end])) for end in ends)
    return first, last


def _start(clip: Clip) -> int:
    """Tokens before those of a caption's words: CLIP's start token, or none."""
    return int(clip.words(clip.tokenize(["a"])).argmax())


def measure(
    runs: dict[tuple[str, int], str | None],
    model: dict[str, Any],
    rows: Iterable[dict[str, Any]],
    path: str,
    *,
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int = 1,
) -> None:
    """Publish each caption's tokens with their shares: variant, seed, index, tokens, shares, and
    `first` and `last`, between which (the last left out) the number word stands.

    runs: (variant, seed) -> weights (`embeddings.each_checkpoint`).
    rows: of `store.read_benchmark`. The others: as `counting.evaluate` has them.
    """
    fabric = embeddings.fabric_of(accelerator, precision, threads)
    clip = Clip(**model)
    images, texts, spans, indices = [], [], [], []
    for row in rows:  # resized one by one: full-size images of a benchmark fill the memory
        images.append(clip.preprocessing.resize(row["image"]))
        text = captions.truncate(row["caption"], row["number"], clip.encode, clip.token_limit)
        texts.append(text)
        spans.append(word_span(clip, text, row["number"]))
        indices.append(row["index"])
    ids, tables = clip.tokenize(texts), []
    words = clip.words(ids)
    tokens = pd.DataFrame(np.array(spans) - _start(clip), columns=["first", "last"]).assign(
        index=indices,
        tokens=[
            [clip.decode([token]).strip() for token in caption[own].tolist()]
            for caption, own in zip(ids, words, strict=True)
        ],
    )
    for (variant, seed), clip in embeddings.each_checkpoint(runs, model, fabric):
        image = embeddings.embed_images(clip, np.stack(images))
        found = []
        for start in progress(range(0, len(ids), batch), unit="batch", desc=variant):
            some = cut_padding(ids[start : start + batch], clip.pad)
            own = words[start : start + batch, : some.shape[1]]
            share = shares(attributions(clip, image[start : start + batch], some), some, own)
            found += [line[mask] for line, mask in zip(share, own, strict=True)]
        tables.append(tokens.assign(variant=variant, seed=seed, shares=found))
    columns = ["variant", "seed", "index", "tokens", "shares", "first", "last"]
    write_table(pd.concat(tables, ignore_index=True)[columns], path)
