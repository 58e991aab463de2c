"""How much does the number word of a caption matter to its similarity with the picture?

Paiss et al. (2023) show it with the relevancy maps of Chefer et al. (2021), which need the
attention inside a model. Here it is integrated gradients (Sundararajan et al., 2017, Eq. 1) over
the embeddings of the caption's tokens, from nothing (zeros) to the caption: they need only that a
model has an embedding layer, and the attributions of all tokens, with start and end, add up to the
difference of the two similarities. Plain gradient x input agreed far less with what leaving single
tokens out does.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from countclip import captions, evaluation, models, sheets, statistics
from countclip.batches import resize
from countclip.captions import NUMBERS
from countclip.figures import INK, drawing
from countclip.files import progress, write_table
from countclip.models import Clip
from countclip.tables import BASELINE

log = logging.getLogger(__name__)

COLUMNS = [
    *("variant", "label", "number", "captions", "share", "share_low", "share_high", "uniform"),
    *("gain", "gain_low", "gain_high", "seeds", "scale"),
]


@contextmanager
def _scaled(layer: torch.nn.Module, factor: float) -> Iterator[list[Tensor]]:
    """Let a layer give `factor` times its output, and keep that for its gradient."""
    kept = []

    def hook(_: Any, __: Any, output: Tensor) -> Tensor:
        kept.append((factor * output.detach()).requires_grad_())
        return kept[-1]

    handle = layer.register_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()


def attributions(clip: Clip, image: Tensor, tokens: np.ndarray, steps: int) -> np.ndarray:
    """What each token adds to the cosine similarity of captions with their pictures, (n, length).

    image: normalised embeddings (n, d). tokens: ids (n, length). steps: where along the way the
    gradient is taken (Gauss-Legendre).
    """
    image = image.clone()  # out of inference mode, which knows no gradients
    places, weights = np.polynomial.legendre.leggauss(steps)
    ids = torch.from_numpy(tokens.astype(np.int64)).to(image.device)
    layer = clip.model.token_embedding
    clip.model.eval().requires_grad_(False)
    mean = 0.0
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        with _scaled(layer, place) as kept:
            similarity = (models.encode_text(clip.model, ids) * image).sum()
        mean = mean + weight * torch.autograd.grad(similarity, kept)[0]
    return (mean * layer(ids)).sum(dim=-1).cpu().numpy()


def shares(attribution: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Sizes of the attributions (n, length) over a caption's own tokens, which add up to 1; 0 at
    the start token, from the end token on, and everywhere if nothing matters."""
    place = np.arange(tokens.shape[1])
    inside = (place > 0) & (place < tokens.argmax(axis=1)[:, None])
    size = np.abs(attribution) * inside
    total = size.sum(axis=1, keepdims=True)
    return np.divide(size, total, out=np.zeros_like(size), where=total > 0)


def word_span(clip: Clip, caption: str, number: int) -> tuple[int, int]:
    """Which token ids of a caption are its number word: first, and one after the last."""
    word, encode = captions.word_for(caption, number), clip.tokenizer.encode
    return 1 + len(encode(caption[: word.start])), 1 + len(encode(caption[: word.end]))


def measure(
    runs: Iterable[tuple[str, int, str | None]],
    model: dict[str, Any],
    rows: Iterable[dict[str, Any]],
    path: str,
    *,
    steps: int,
    batch: int = 64,
) -> None:
    """Publish each caption's tokens with their shares: variant, seed, index, tokens, shares, and
    `first` and `last`, between which (the last left out) the number word stands.

    runs: (variant, seed, weights); None stands for the pretrained weights.
    rows: of `pictures.read_benchmark`.
    """
    clip = Clip(model["name"], model["pretrained"], model["config"])
    pictures, texts, spans, indices = [], [], [], []
    for row in rows:  # resized one by one: full-size pictures of a benchmark fill the memory
        pictures.append(resize(row["image"], clip.image_size))
        text = captions.fit(
            row["caption"], row["number"], clip.tokenizer.encode, clip.token_limit
        )
        texts.append(text)
        spans.append(word_span(clip, text, row["number"]))
        indices.append(row["index"])
    ids, tables = clip.tokenize(texts), []
    ends = ids.argmax(axis=1)
    about = pd.DataFrame(np.array(spans) - 1, columns=["first", "last"]).assign(
        index=indices,
        tokens=[
            [clip.tokenizer.decode([token]).strip() for token in caption[1:end]]
            for caption, end in zip(ids.tolist(), ends, strict=True)
        ],
    )
    for variant, seed, weights in runs:
        clip = Clip(model["name"], weights or model["pretrained"], model["config"])
        image, _ = evaluation.embed(clip, np.stack(pictures), ids[:, None])
        found = []
        for start in progress(range(0, len(ids), batch), unit="batch", desc=variant):
            some = models.cut_padding(ids[start : start + batch])
            share = shares(attributions(clip, image[start : start + batch], some, steps), some)
            found += [line[1:end] for line, end in zip(share, ends[start:], strict=False)]
        tables.append(about.assign(variant=variant, seed=seed, shares=found))
    columns = ["variant", "seed", "index", "tokens", "shares", "first", "last"]
    write_table(pd.concat(tables, ignore_index=True)[columns], path)


def load(path: str, rows: dict[int, int]) -> pd.DataFrame:
    """What `measure` found for `rows` (countbench.rows_of), with the caption's `number`, the
    `share` of its number word, and `uniform`, that of a word if all tokens mattered alike."""
    table = pd.read_parquet(path)
    table = table[table["index"].isin(rows)].reset_index(drop=True)
    spans = zip(table["shares"], table["first"], table["last"], strict=True)
    return table.assign(
        number=table["index"].map(rows),
        share=[share[first:last].sum() for share, first, last in spans],
        uniform=(table["last"] - table["first"]) / table["tokens"].map(len),
    )


def summarise(table: pd.DataFrame, variants: list[dict[str, str]], scale: str) -> pd.DataFrame:
    """The mean share of the number word in percent, by model and number (and `all`), and the gain
    over the first of `variants`; columns COLUMNS.

    table: of `load`. Seeds are averaged; intervals are the bootstrap's over captions
    (statistics.bootstrap), paired for the gain; there is none of a single caption.
    """
    by = table.groupby(["number", "index", "variant"])["share"].mean().unstack("variant")
    uniform = table.groupby(["number", "index"])["uniform"].first()
    lines = []
    for number in ("all", *NUMBERS):
        own = by if number == "all" else by[by.index.get_level_values("number") == number]
        if own.empty:
            continue
        for variant in variants:
            known = own[variants[0]["id"]]
            seeds = table.loc[table["variant"] == variant["id"], "seed"].unique()
            line = {
                "variant": variant["id"],
                "label": variant["label"],
                "number": number,
                "captions": len(own),
                "uniform": 100 * uniform[own.index].mean(),
                "seeds": " ".join(map(str, seeds)),
                "scale": scale,
            }
            line |= statistics.mean_interval("share", 100 * own[variant["id"]])
            if variant is not variants[0]:
                line |= statistics.mean_interval("gain", 100 * (own[variant["id"]] - known))
            lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS)
