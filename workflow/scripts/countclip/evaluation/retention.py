"""Retention: what a model can still do that the pretrained baseline could.

Zero-shot classification and image-text retrieval, as CLIP's authors measured them (Radford et al.,
2021, section 3.1): the same images for the pretrained baseline and for each run. A task is read
from a local folder; nothing is downloaded. The result for each image and caption is one number: how
many wrong answers a model found at least as good as the best right one. Every accuracy and every
recall follows from that.
"""

import logging
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from countclip.evaluation.retention_data import Task
from countclip.model import embeddings
from countclip.model.clip import Clip, unit_length
from countclip.model.libraries import open_clip
from countclip.runtime.files import write_table

log = logging.getLogger(__name__)


def answers(clip: Clip, task: Task, batch: int = 64) -> pd.DataFrame:
    """One row a query: its `direction` (`label`, or `image_to_text` and `text_to_image`), the
    `index` of the image or caption, the `picture` that it belongs to, how many answers are `right`
    `among` how many, and the best right one's `rank` from 0.

    A class is the mean of its normalised prompts, normalised, as CLIP's authors have it. `task` is
    of `unpack`.
    """
    image = embeddings.embed_images(clip, task.images, batch, show=True)
    if task.templates:
        device = next(clip.model.parameters()).device
        text = open_clip.build_zero_shot_classifier(
            clip.model, clip.tokenizer, task.texts, task.templates, device=device
        )
        text = unit_length(text.T).cpu()
        return _ranked("label", image, text, task.of_image, task.of_text)
    text = embeddings.embed_texts(clip, clip.tokenize(task.texts), show=True)
    ways = (
        _ranked("image_to_text", image, text, task.of_image, task.of_text),
        _ranked("text_to_image", text, image, task.of_text, task.of_image),
    )
    return pd.concat(ways, ignore_index=True)


def _ranked(
    direction: str, queries: Tensor, keys: Tensor, of_query: np.ndarray, of_key: np.ndarray
) -> pd.DataFrame:
    right = np.bincount(of_key, minlength=of_query.max() + 1)[of_query]
    if not right.all():
        raise ValueError(f"{direction}: query {right.argmin()} has no right answer in its task")
    return pd.DataFrame(
        {
            "direction": direction,
            "index": np.arange(len(queries)),
            # Of a label the id is the class, which other images share.
            "picture": np.arange(len(queries)) if direction == "label" else of_query,
            "right": right,
            "among": len(keys),
            "rank": ranks(queries, keys, of_query, of_key),
        }
    )


@torch.autocast("cpu", enabled=False)  # bfloat16 would make many equally similar
def ranks(
    queries: Tensor, keys: Tensor, of_query: np.ndarray, of_key: np.ndarray, batch: int = 512
) -> np.ndarray:
    """Rank (q,) of the most similar right key of each query, 0 for the best of all.

    queries (q, d) and keys (k, d) are normalised; a key is right where the ids (q,) and (k,) agree.
    Ties count against the model: a wrong key with equal similarity ranks first, so constant or NaN
    embeddings score 0.
    """
    parts = []
    of_key = torch.from_numpy(of_key)
    for start in range(0, len(queries), batch):
        similarity = queries[start : start + batch] @ keys.T
        right = torch.from_numpy(of_query[start : start + batch])[:, None] == of_key
        best = similarity.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
        parts.append((~(similarity < best) & ~right).sum(dim=1))  # nan is not less
    return torch.cat(parts).numpy()


def headline(ranked: pd.DataFrame) -> float:
    """One figure of a task, in [0, 1]: top-1 accuracy, or recall@1, the mean of both ways."""
    return float((ranked["rank"] == 0).groupby(ranked["direction"]).mean().mean())


def measure(
    checkpoints: dict[str, str | None],
    model: dict[str, Any],
    packed: Task,
    path: str,
    *,
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int = 1,
    **columns: Any,
) -> None:
    """Publish the `answers` of every checkpoint of a run.

    checkpoints: name -> weights (`embeddings.each_checkpoint`). packed: of `unpack`. columns: what
    the answers are of (task, variant, seed), beside `checkpoint`. The other arguments are those of
    `counting.evaluate`.
    """
    fabric = embeddings.fabric_of(accelerator, precision, threads)
    parts = []
    for name, clip in embeddings.each_checkpoint(checkpoints, model, fabric):
        ranked = answers(clip, packed, batch)
        log.info("%s: %.2f %% right at first", name, 100 * headline(ranked))
        parts.append(ranked.assign(**columns, checkpoint=name))
    write_table(pd.concat(parts, ignore_index=True), path)
