"""The answers of one reader to the parts of images that a view shows."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from countclip.experiments.reading.crops import look, write_looked
from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.embeddings import Embeddings, read_pool, read_split
from countclip.experiments.reading.model import answers_of, make_reader, queries_of
from countclip.experiments.reading.pool import AnswerKey
from countclip.experiments.reading.pool import read_pool as read_answers
from countclip.model.clip import Clip
from countclip.model.embeddings import embed_images, fabric_of


def look_at_views(
    views: dict[str, str],
    validation_files: dict[str, str],
    pool_csv: str,
    pool_embeddings: str,
    summary_json: str,
    weights: str | None,
    paths: dict[str, str | Path],
    *,
    reader: dict[str, Any],
    model: dict[str, Any],
    accelerator: str,
    precision: str,
    batch: int,
    threads: int,
) -> None:
    """Publish what a reader answers to each view (`crops.write_looked`).

    views: view -> npy of `images.pack`. paths: view -> file that is published. weights: of
    `train.train`, None for zero-shot. model: the one of the embeddings. The others as
    `evaluate.predict` has them.
    """
    fabric = fabric_of(accelerator, precision, threads)
    clip = Clip(**model)
    clip.model.to(fabric.device)
    questions = read_questions(validation_files["questions"])
    key = AnswerKey(questions["answers"], list(read_answers(pool_csv)["answer"]))
    validation, pool = read_split(validation_files["embeddings"]), read_pool(pool_embeddings)
    torch.manual_seed(0)
    asked = make_reader(pool.shape[1], summary_json, reader)
    if weights:
        asked.load(weights)
    answers, of_question = answers_of(asked, pool), questions["image"].to_numpy()
    for view, npy in views.items():
        pixels = np.load(npy, mmap_mode="r")
        with fabric.autocast():
            parts = embed_images(clip, pixels, batch, show=True).numpy()
        parts = parts.reshape(of_question.max() + 1, -1, parts.shape[1])[of_question]
        queries = [
            queries_of(asked, Embeddings(parts[:, part, None], *validation[1:]))
            for part in range(parts.shape[1])
        ]
        looked = look(np.stack(queries, axis=1), answers, key.target)
        write_looked(paths[view], questions["question_id"].to_numpy(), looked, clip.image_size)
