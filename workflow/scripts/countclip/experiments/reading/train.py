"""The training of one reader with one seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from countclip.experiments.reading.clusters import Draws, false_negatives_of, read_clusters
from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.embeddings import read_pool, read_split
from countclip.experiments.reading.model import answers_of, make_reader, queries_of
from countclip.experiments.reading.objective import Batches, Frozen
from countclip.experiments.reading.pool import AnswerKey
from countclip.experiments.reading.pool import read_pool as read_answers
from countclip.experiments.reading.ranking import rank
from countclip.model.libraries import rank_zero_only
from countclip.runtime.files import write_json
from countclip.training import checkpoints
from countclip.training.checkpoints import Outputs
from countclip.training.loggers import open_loggers
from countclip.training.loop import fit
from countclip.training.settings import from_config


def train(
    train_files: dict[str, str],
    validation_files: dict[str, str],
    pool_csv: str,
    pool_embeddings: str,
    summary_json: str,
    clusters_parquet: str | None,
    outputs: dict[str, str],
    state: str,
    metadata: dict[str, Any],
    *,
    reader: dict[str, Any],
    treatment: str,
    random_share: float,
    shuffle_answers: bool = False,
    seed: int,
    batch_size: int,
    steps: int,
    evaluations: int,
    threads: int,
    loggers: Sequence[str] = (),
    **settings: Any,
) -> None:
    """Train a reader on frozen embeddings and publish `end`, `history` and `model`.

    train_files, validation_files: `questions` and `embeddings` of a split. pool_csv,
    pool_embeddings, summary_json: of `pool.make_pool` and `embed.embed`.
    clusters_parquet: of `clusters.make_clusters`; None draws all pairs at random.
    treatment, random_share: of `MaskedClipLoss` and `Draws`.
    shuffle_answers: deals the answers to the questions anew, so that nothing can be learnt but how
        frequent they are: a control.
    settings: the other keys of `settings.from_config`. Nothing is selected on the validation split;
        the history has its accuracy for a reader's eye.
    """
    torch.set_num_threads(threads)
    questions, embeddings = (
        read_questions(train_files["questions"]),
        read_split(train_files["embeddings"]),
    )
    if shuffle_answers:
        order = np.random.default_rng([seed, 7]).permutation(len(questions))
        embeddings = embeddings._replace(answer=embeddings.answer[order])
        questions = questions.assign(answers=[questions["answers"][row] for row in order])
    labels = np.zeros(len(questions), int)
    if clusters_parquet:
        labels = read_clusters(clusters_parquet, "train")
    draws = Draws(
        labels, size=batch_size, random_share=random_share if clusters_parquet else 1, seed=seed
    )
    torch.manual_seed(seed)  # of the maps
    model = make_reader(embeddings.question.shape[1], summary_json, reader)
    objective = Frozen(model, treatment)
    batches = Batches(embeddings, draws, false_negatives_of(questions, reader["asks"]))
    asked = read_questions(validation_files["questions"])
    key = AnswerKey(asked["answers"], list(read_answers(pool_csv)["answer"]))
    validation, pool = read_split(validation_files["embeddings"]), read_pool(pool_embeddings)

    def evaluate() -> dict[str, float]:
        queries, answers = queries_of(model, validation), answers_of(model, pool)
        scores = key.of(rank(queries, answers, key.target).predicted)
        return {
            "validation_soft": float(scores.soft.mean()),
            "validation_exact": float(scores.exact.mean()),
        }

    metadata = metadata | {"versions": checkpoints.versions()}
    with open_loggers(loggers, metadata) as watching:
        steps_of = fit(
            objective,
            batches,
            evaluate,
            Outputs(outputs["history"], outputs["end"]),
            state,
            metadata,
            **from_config(
                steps=steps, evaluations=evaluations, seed=seed, loggers=watching, **settings
            ),
        )
    if rank_zero_only.rank == 0:  # of several processes one writes
        write_json(metadata | {"steps": steps_of}, outputs["model"])
