"""Question and answer as one statement, which CLIP compares with the image: a second pass.

CLIP was trained with statements, not with questions. A statement for each question and each answer
of the pool would be 50 million texts. So a first pass ranks the pool, and its best answers alone
become statements.
"""

import logging
from typing import Any

import numpy as np
import torch

from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.embeddings import read_pool, read_split
from countclip.experiments.reading.model import answers_of, make_reader, queries_of
from countclip.experiments.reading.pool import AnswerKey
from countclip.experiments.reading.pool import read_pool as read_answers
from countclip.experiments.reading.predictions import write_predictions
from countclip.experiments.reading.ranking import Ranked, rank, ranked
from countclip.model.clip import Clip
from countclip.model.embeddings import embed_texts, fabric_of
from countclip.runtime.files import progress

log = logging.getLogger(__name__)

BLOCK = 64
"""Questions whose statements are encoded at a time."""


def predict(
    validation_files: dict[str, str],
    pool_csv: str,
    pool_embeddings: str,
    summary_json: str,
    path: str,
    *,
    reader: dict[str, Any],
    n: int,
    template: str,
    model: dict[str, Any],
    accelerator: str,
    precision: str,
    threads: int,
) -> None:
    """Publish predictions by statements of the n best answers of a zero-shot first pass.

    reader: of the first pass. template: of a statement, with {question} and {answer}; the question
        without its question mark. model: the one of the embeddings. The others as
        `evaluate.predict` has them.
    """
    fabric = fabric_of(accelerator, precision, threads)
    clip = Clip(**model)
    clip.model.to(fabric.device)
    questions, pool = read_questions(validation_files["questions"]), read_answers(pool_csv)
    key = AnswerKey(questions["answers"], list(pool["answer"]))
    validation, answers = read_split(validation_files["embeddings"]), read_pool(pool_embeddings)
    torch.manual_seed(0)
    first_reader = make_reader(answers.shape[1], summary_json, reader)
    queries = queries_of(first_reader, validation)
    first = rank(queries, answers_of(first_reader, answers), key.target, top=n)
    images, spellings = validation.by_name()["image"], list(pool["spelling"])
    parts = []
    for start in progress(range(0, len(questions), BLOCK), unit="block", desc="statements"):
        part = slice(start, start + BLOCK)
        texts = [
            statement(template, question, spellings[place])
            for question, places in zip(questions["question"][part], first.top[part], strict=True)
            for place in places
        ]
        with fabric.autocast():
            embedded = embed_texts(clip, clip.tokenize(texts)).numpy()
        embedded = embedded.reshape(*first.top[part].shape, -1)
        parts.append(np.einsum("qd,qnd->qn", images[part], embedded))
    scale = first_reader.logit_scale.exp().item()
    second = again(first, np.concatenate(parts), key.target, scale)
    write_predictions(path, questions["question_id"].to_numpy(), second)


def statement(template: str, question: str, answer: str) -> str:
    """A question and an answer as one text."""
    return template.format(question=question.rstrip("? "), answer=answer)


def again(
    first: Ranked, similarities: np.ndarray, targets: np.ndarray, logit_scale: float
) -> Ranked:
    """Rank the n best of a first pass anew, by the similarities (Q, n) of their statements.

    Probabilities are of a softmax over these n. A right answer that is not among them keeps its
    rank, or the first one behind them.
    """
    similarities = np.where(np.isfinite(similarities), similarities, -np.inf)
    n = similarities.shape[1]
    is_target = first.top == np.asarray(targets)[:, None]
    places = np.where(is_target.any(axis=1), is_target.argmax(axis=1), -1)
    second = ranked(similarities, places, logit_scale)
    rows = np.arange(len(places))
    predicted = np.where(second.predicted >= 0, first.top[rows, second.predicted], -1)
    behind = np.where(np.asarray(targets) >= 0, np.maximum(first.rank, n + 1), -1)
    return Ranked(
        predicted,
        np.take_along_axis(first.top, second.top, axis=1),
        second.probabilities,
        np.where(places >= 0, second.rank, behind),
    )
