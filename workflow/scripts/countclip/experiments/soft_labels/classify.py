"""Zero-shot answers of pretrained models to images of classes."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from countclip.evaluation import retention
from countclip.evaluation.retention_data import Task
from countclip.model import embeddings
from countclip.runtime.files import write_table


def classify(
    weights: dict[tuple[Hashable, int], str],
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
