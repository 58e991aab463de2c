"""The answers of one reader to the questions of the validation split."""

from typing import Any

import numpy as np
import torch

from countclip.experiments.reading.clusters import read_clusters
from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.embeddings import read_pool, read_split
from countclip.experiments.reading.model import answers_of, make_reader, queries_of
from countclip.experiments.reading.pool import AnswerKey, targets
from countclip.experiments.reading.pool import read_pool as read_answers
from countclip.experiments.reading.predictions import write_predictions
from countclip.experiments.reading.ranking import rank, within


def predict(
    train_files: dict[str, str],
    validation_files: dict[str, str],
    pool_csv: str,
    pool_embeddings: str,
    summary_json: str,
    clusters: dict[str, str],
    weights: str | None,
    path: str,
    *,
    reader: dict[str, Any],
    seed: int = 0,
    threads: int,
) -> None:
    """Publish what a reader answers (`predictions.write_predictions`).

    clusters: clustering -> Parquet of `clusters.make_clusters`; each gives the accuracy among the
        answers of the question's cluster.
    weights: of `train.train`; None for zero-shot. The others as there.
    """
    torch.set_num_threads(threads)
    questions = read_questions(validation_files["questions"])
    names = list(read_answers(pool_csv)["answer"])
    key = AnswerKey(questions["answers"], names)
    validation, pool = read_split(validation_files["embeddings"]), read_pool(pool_embeddings)
    torch.manual_seed(seed)
    model = make_reader(validation.question.shape[1], summary_json, reader)
    if weights:
        model.load(weights)
    queries, answers = queries_of(model, validation), answers_of(model, pool)
    place_of = {name: place for place, name in enumerate(names)}
    taught = targets(read_questions(train_files["questions"])["answers"])["target"].map(place_of)
    found = {}
    for name, parquet in clusters.items():
        of_train = read_clusters(parquet, "train")
        members = {
            int(label): np.unique(taught[(of_train == label) & taught.notna()]).astype(int)
            for label in np.unique(of_train)
        }
        of_validation = read_clusters(parquet, "validation")
        found[name] = within(queries, answers, key.target, of_validation, members)
    ranked = rank(queries, answers, key.target, model.logit_scale.exp().item())
    write_predictions(path, questions["question_id"].to_numpy(), ranked, found)
