"""What does a model answer? Nine captions an image; the most similar one is the prediction."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from countclip import models
from countclip.batches import candidates, resize, tokens_of
from countclip.captions import NUMBERS
from countclip.files import progress, write_table
from countclip.models import Clip

log = logging.getLogger(__name__)


@dataclass
class Questions:
    """Images with their nine captions, two to ten: `images` uint8 (n, size, size, 3), `tokens`
    uint16 (n, 9, length), `numbers` (n,) the right answers, `indices` (n,) the rows' names."""

    images: np.ndarray
    tokens: np.ndarray
    numbers: np.ndarray
    indices: np.ndarray

    @classmethod
    def of(
        cls, clip: Clip, rows: Iterable[dict[str, Any]], everywhere: bool = False
    ) -> "Questions":
        """From rows with `index`, `image` (PIL), `caption` and `number`; everywhere: as
        `captions.candidates` has it."""
        images, texts, numbers, indices = [], [], [], []
        for row in rows:  # resized one by one: full-size pictures of a benchmark fill the memory
            images.append(resize(row["image"], clip.image_size))
            texts.append(candidates(clip, row["caption"], row["number"], everywhere))
            numbers.append(row["number"])
            indices.append(row["index"])
        tokens = tokens_of(clip, texts)
        return cls(np.stack(images), tokens, np.array(numbers), np.array(indices))


@torch.inference_mode()
def similarities(
    clip: Clip, images: np.ndarray, tokens: np.ndarray, batch: int = 64, show: bool = False
) -> np.ndarray:
    """Cosine similarities (n, C) of images (n, size, size, 3) and token ids (n, C, length).

    Each image goes through the image tower once, and each distinct caption through the text tower
    once; captions of like length share a batch, so that little padding is encoded.
    """
    device = next(clip.model.parameters()).device
    clip.model.eval()
    flat, place = np.unique(tokens.reshape(-1, tokens.shape[-1]), axis=0, return_inverse=True)
    order = np.argsort(flat.argmax(axis=1), kind="stable")
    starts = range(0, len(order), batch * tokens.shape[1])
    text = None
    for start in progress(starts, unit="batch", desc="captions") if show else starts:
        rows = order[start : start + batch * tokens.shape[1]]
        ids = torch.from_numpy(models.cut_padding(flat[rows]).astype(np.int64)).to(device)
        embedding = models.encode_text(clip.model, ids).float()
        if text is None:
            text = torch.empty(len(flat), embedding.shape[1], device=device)
        text[torch.from_numpy(rows)] = embedding
    text = text[torch.from_numpy(place.reshape(tokens.shape[:2]))]
    scores = []
    starts = range(0, len(images), batch)
    for start in progress(starts, unit="batch", desc="images") if show else starts:
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).to(device)
        image = models.encode_image(clip.model, clip.normalise(pixels)).float()
        scores.append(torch.einsum("nd,ncd->nc", image, text[start : start + batch]))
    return torch.cat(scores).cpu().numpy()


def predictions(similarity: np.ndarray, indices: np.ndarray, numbers: np.ndarray) -> pd.DataFrame:
    """One row an image. The prediction is the most similar caption's number; where two captions are
    equally similar the lower number is taken and `tie` says so."""
    best = similarity.max(axis=1, keepdims=True)
    return pd.DataFrame(
        {
            "index": indices,
            "number": numbers,
            "similarity": list(similarity.astype(np.float32)),
            "prediction": np.asarray(NUMBERS)[similarity.argmax(axis=1)],
            "tie": (similarity == best).sum(axis=1) > 1,
        }
    )


def accuracy(similarity: np.ndarray, numbers: np.ndarray) -> float:
    """Share of images whose most similar caption names the right number, in [0, 1]."""
    return float((np.asarray(NUMBERS)[similarity.argmax(axis=1)] == numbers).mean())


def write_predictions(tables: dict[str, pd.DataFrame], variant: str, seed: int, path: str) -> None:
    """Publish the predictions of each checkpoint of one training run as one table."""
    frame = pd.concat(
        [
            table.assign(variant=variant, seed=seed, checkpoint=name)
            for name, table in sorted(tables.items())
        ]
    ).sort_values(["checkpoint", "index"])
    schema = pa.schema(
        [
            ("variant", pa.string()),
            ("seed", pa.int64()),
            ("checkpoint", pa.string()),
            ("index", pa.int32()),
            ("number", pa.int8()),
            ("similarity", pa.list_(pa.float32())),
            ("prediction", pa.int8()),
            ("tie", pa.bool_()),
        ]
    )
    write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)


def evaluate(
    checkpoints: dict[str, str | None],
    model: dict[str, Any],
    rows: Iterable[dict[str, Any]],
    variant: str,
    seed: int,
    path: str,
    replace: str = "once",
) -> None:
    """Publish the predictions of every checkpoint of a run on the benchmark.

    checkpoints: name -> weights; None stands for the pretrained model.
    rows: of `pictures.read_benchmark`.
    replace: `once` or `everywhere`, where a caption writes its number more than once.
    """
    tables, questions = {}, None
    for name, weights in checkpoints.items():
        clip = Clip(model["name"], weights or model["pretrained"], model["config"])
        questions = questions or Questions.of(clip, rows, replace == "everywhere")
        similarity = similarities(clip, questions.images, questions.tokens, show=True)
        tables[name] = predictions(similarity, questions.indices, questions.numbers)
        log.info(
            "%s, seed %s, %s: %.2f %% of %d images",
            variant, seed, name, 100 * accuracy(similarity, questions.numbers), len(similarity),
        )  # fmt: skip
    write_predictions(tables, variant, seed, path)
