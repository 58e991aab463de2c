"""What does a model answer? Nine captions an image; the most similar one is the prediction."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from countclip import models
from countclip.batches import candidates, resize, tokens_of
from countclip.captions import NUMBERS
from countclip.devices import one_of
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
    def heldout(cls, clip: Clip, counting: str, images: str) -> "Questions":
        """The pairs of a counting set that nothing is trained on. counting: its table; images: the
        array of its pictures (`batches.pack_images`)."""
        table, pixels = pd.read_parquet(counting), np.load(images, mmap_mode="r")
        held = table[table["split"] == "heldout"]
        return cls.of(
            clip,
            (
                {"index": i, "image": Image.fromarray(pixels[i]), **row}
                for i, row in zip(held.index, held.to_dict("records"), strict=True)
            ),
        )

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
def embed_images(clip: Clip, images: np.ndarray, batch: int = 64, show: bool = False) -> Tensor:
    """Normalised embeddings (n, d) of images uint8 (n, size, size, 3)."""
    device = next(clip.model.parameters()).device
    clip.model.eval()
    embeddings = []
    starts = range(0, len(images), batch)
    for start in progress(starts, unit="batch", desc="images") if show else starts:
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).to(device)
        embeddings.append(models.encode_image(clip.model, clip.normalise(pixels)).float())
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
    order = np.argsort(distinct.argmax(axis=1), kind="stable")
    embeddings = []
    starts = range(0, len(order), batch)
    for start in progress(starts, unit="batch", desc="captions") if show else starts:
        ids = models.cut_padding(distinct[order[start : start + batch]]).astype(np.int64)
        text = models.encode_text(clip.model, torch.from_numpy(ids).to(device))
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
def cosines(image: Tensor, text: Tensor) -> np.ndarray:
    """(n, C) of normalised embeddings (n, d) and (n, C, d), float32."""
    return torch.einsum("nd,ncd->nc", image, text).numpy()


def text_only(image: Tensor, text: Tensor) -> np.ndarray:
    """The numbers (n,) that a model answers when every picture is replaced by the mean of all: what
    it says to these captions of these pictures, whichever they belong to."""
    mean = image.double().mean(dim=0)
    return np.asarray(NUMBERS)[(text.double() @ mean).argmax(dim=1)]


def answers(similarity: np.ndarray) -> pd.DataFrame:
    """`similarity`, `prediction` and `tie` of each image, from (n, 9) cosines: the number of the
    most similar caption; where two are equally similar the lower one is taken, and `tie` says so,
    as it does where nothing can be compared: of a model of nan.
    """
    best = similarity.max(axis=1, keepdims=True)
    return pd.DataFrame(
        {
            "similarity": list(similarity.astype(np.float32)),
            "prediction": np.asarray(NUMBERS)[similarity.argmax(axis=1)],
            "tie": (~(similarity < best)).sum(axis=1) > 1,  # nan is not less
        }
    )


def predictions(
    similarity: np.ndarray, indices: np.ndarray, numbers: np.ndarray, alone: np.ndarray
) -> pd.DataFrame:
    """One row an image: its index, the right number, its `answers`, and `alone`, of `text_only`."""
    return answers(similarity).assign(index=indices, number=numbers, text_only=alone)


def accuracy(similarity: np.ndarray, numbers: np.ndarray) -> float:
    """Share of images whose most similar caption names the right number, in [0, 1]."""
    return float((np.asarray(NUMBERS)[similarity.argmax(axis=1)] == numbers).mean())


def fabric_of(accelerator: str, precision: str, threads: int) -> Fabric:
    """Where models are asked for their answers, and how exactly, as lightning-fabric has it; torch
    is set for it in the whole process."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # or a GPU rounds pictures as no CPU does
    return Fabric(accelerator=accelerator, devices=one_of(accelerator, 1), precision=precision)


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
            ("text_only", pa.int8()),
        ]
    )
    write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)


def untouched_and(weights: Iterable[str]) -> list[tuple[str, int, str | None]]:
    """(variant, seed, weights) of the untouched model, and of each <variant>/seed<seed>/<file>."""
    runs = [(Path(file).parents[1].name, Path(file).parent.name, file) for file in weights]
    known = [(variant, int(seed.removeprefix("seed")), file) for variant, seed, file in runs]
    return [("baseline", 0, None), *known]


def evaluate(
    checkpoints: dict[str, str | None],
    model: dict[str, Any],
    rows: Iterable[dict[str, Any]],
    variant: str,
    seed: int,
    path: str,
    *,
    replace: str = "once",
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int = 1,
) -> None:
    """Publish the predictions of every checkpoint of a run on the benchmark.

    checkpoints: name -> weights; None stands for the pretrained model.
    rows: of `pictures.read_benchmark`.
    replace: `once` or `everywhere`, where a caption writes its number more than once.
    accelerator, precision: as lightning-fabric has them. batch: see `embed`; both it and where the
        model runs change rounding alone. threads: of a CPU.
    """
    fabric = fabric_of(accelerator, precision, threads)
    tables, questions = {}, None
    for name, weights in checkpoints.items():
        clip = Clip(model["name"], weights or model["pretrained"], model["config"])
        clip.model.to(fabric.device)
        questions = questions or Questions.of(clip, rows, replace == "everywhere")
        with fabric.autocast():
            image, text = embed(clip, questions.images, questions.tokens, batch, show=True)
        similarity = cosines(image, text)
        tables[name] = predictions(
            similarity, questions.indices, questions.numbers, text_only(image, text)
        )
        log.info(
            "%s, seed %s, %s: %.2f %% of %d images, %d ties, on %s",
            variant, seed, name, 100 * accuracy(similarity, questions.numbers), len(similarity),
            tables[name]["tie"].sum(), fabric.device,
        )  # fmt: skip
    write_predictions(tables, variant, seed, path)
