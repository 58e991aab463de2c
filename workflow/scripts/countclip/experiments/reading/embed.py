"""Embeddings of images, questions and answers by a CLIP, once, as files."""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from countclip.experiments.reading import embeddings
from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.pool import read_pool, targets
from countclip.model.clip import Clip, lengths
from countclip.model.embeddings import embed_images, embed_texts, fabric_of
from countclip.runtime.files import write_json

log = logging.getLogger(__name__)


def embed(
    splits: dict[str, dict[str, str]],
    pool_csv: str,
    pool_path: str,
    summary_json: str,
    *,
    model: dict[str, Any],
    question_template: str,
    answer_template: str,
    accelerator: str,
    precision: str,
    threads: int,
) -> None:
    """Publish the embeddings of splits and of the pool, and the model's logit scale.

    splits: name -> `questions` (Parquet), `images` (npy of all parts of each image) and
        `embeddings`, which is published.
    model: `name`, `pretrained` and `config` of `Clip`; pretrained None is a random one.
    question_template, answer_template: with {question} and {answer}.
    summary_json: how many texts are cut by the model's limit, and how many answers of the pool have
        the tokens of another one, which no model tells apart.
    """
    fabric = fabric_of(accelerator, precision, threads)
    clip = Clip(**model)
    clip.model.to(fabric.device)
    summary: dict[str, Any] = {"logit_scale": clip.model.logit_scale.exp().item()}

    def texts(name: str, values: Iterable[str]) -> np.ndarray:
        tokens = _tokens(clip, list(values), name, summary)
        with fabric.autocast():
            return embed_texts(clip, tokens, show=True).numpy()

    pool = read_pool(pool_csv)
    with_template = [answer_template.format(answer=text) for text in pool["spelling"]]
    embeddings.write(pool_path, pool=texts("pool", with_template))
    same = len(pool) - len(np.unique(clip.tokenize(with_template), axis=0))
    summary["pool_answers_with_the_tokens_of_another"] = same
    if same:
        log.warning(
            "%d answers of the pool have the tokens of another one: ties count as wrong", same
        )
    for name, paths in splits.items():
        questions = read_questions(paths["questions"])
        pixels = np.load(paths["images"], mmap_mode="r")
        n = int(questions["image"].max()) + 1
        if len(pixels) % n:
            raise ValueError(
                f"{paths['images']}: {len(pixels)} parts of {n} images of {paths['questions']}:"
                " pack the images of this split again"
            )
        with fabric.autocast():
            image = embed_images(clip, pixels, show=True).numpy()
        asked = [question_template.format(question=text) for text in questions["question"]]
        told = [
            answer_template.format(answer=text)
            for text in targets(questions["answers"])["spelling"]
        ]
        embeddings.write(
            paths["embeddings"],
            image=image.reshape(n, len(pixels) // n, -1),
            index=questions["image"].to_numpy(np.int64),
            question=texts(f"{name}_questions", asked),
            answer=texts(f"{name}_answers", told),
        )
    write_json(summary, summary_json)


def _tokens(clip: Clip, texts: list[str], name: str, summary: dict[str, Any]) -> np.ndarray:
    """Token ids (n, length); counts in the summary how many texts are cut."""
    tokens = clip.tokenize(texts)
    full = np.flatnonzero(lengths(tokens, clip.pad) == clip.tokenizer.context_length)
    cut = sum(len(clip.encode(texts[place])) > clip.token_limit for place in full)
    summary[f"{name}_cut"] = cut
    if cut:
        log.warning("%s: %d of %d texts are cut after %d tokens", name, cut, len(texts),
                    clip.token_limit)  # fmt: skip
    return tokens
