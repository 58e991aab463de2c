"""Zero-shot answers of pretrained models to images of classes."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from countclip.evaluation import retention
from countclip.evaluation.retention_data import Task
from countclip.model import embeddings
from countclip.model.clip import Clip, unit_length
from countclip.runtime.files import write_table


def classify(
    weights: dict[tuple[str, int], str],
    model: dict[str, Any],
    task: Task,
    path: str,
    *,
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int = 1,
) -> None:
    """Publish the rank of the right class for each image, under each target and seed.

    weights: (target, seed) -> file. task: of `retention_data.unpack`, with templates. The Parquet
    file has `target`, `seed`, `index` of the image, its `class`, and `rank`, 0 for the first.
    """
    fabric = embeddings.fabric_of(accelerator, precision, threads)
    parts = []
    for (target, seed), clip in embeddings.each_checkpoint(
        weights, {**model, "pretrained": None}, fabric
    ):
        ranked = retention.answers(clip, task, batch)
        answers = {"target": target, "seed": seed, "index": ranked["index"]}
        parts.append(pd.DataFrame(answers | {"class": task.of_image, "rank": ranked["rank"]}))
    write_table(pd.concat(parts, ignore_index=True), path)


def classify_domains(
    weights: dict[tuple[str, str, int], str],
    model: dict[str, Any],
    task: Task,
    descriptions: dict[str, str],
    path: str,
    *,
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int = 1,
) -> None:
    """The same under the prompts of each text domain; one more column, `prompts`, says which.

    weights: (target, texts, seed) -> file. descriptions: class -> sentence, of all classes. Prompts
    are `label`, the task's templates; `description`; and `both`, the mean of their embeddings.
    """
    if lacking := [name for name in task.texts if name not in descriptions]:
        raise ValueError(
            f"soft_labels.pretraining.domains.descriptions: no description of {lacking[0]!r}"
            f" ({len(lacking)} classes lack one); add a line for each"
        )
    labels = [[template.format(name) for template in task.templates] for name in task.texts]
    sentences = [[descriptions[name]] for name in task.texts]
    fabric = embeddings.fabric_of(accelerator, precision, threads)
    parts = []
    for (target, texts, seed), clip in embeddings.each_checkpoint(
        weights, {**model, "pretrained": None}, fabric
    ):
        images = embeddings.embed_images(clip, task.images, batch)
        classes = {"label": _classes(clip, labels), "description": _classes(clip, sentences)}
        classes["both"] = unit_length(classes["label"] + classes["description"])
        for prompts, of_classes in classes.items():
            ranks = retention.ranks(images, of_classes, task.of_image, task.of_text)
            answers = {"target": target, "texts": texts, "seed": seed, "prompts": prompts}
            parts.append(pd.DataFrame(answers | {"index": range(len(ranks)), "rank": ranks}))
    write_table(pd.concat(parts, ignore_index=True), path)


def _classes(clip: Clip, prompts: Sequence[Sequence[str]]) -> Tensor:
    """Embedding of each class, (k, d): the mean of its prompts', normalised."""
    text = embeddings.embed_texts(clip, clip.tokenize(one for of in prompts for one in of))
    parts = text.split([len(of) for of in prompts])
    return unit_length(torch.stack([part.mean(dim=0) for part in parts]))
