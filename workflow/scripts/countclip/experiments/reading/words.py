"""Words as images: which single words a model reads, by kind, face, letters and height."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from countclip.data.images import MAX_BYTES, Unusable, decode, read_file
from countclip.experiments.reading.embeddings import Embeddings
from countclip.experiments.reading.model import answers_of, make_reader, queries_of
from countclip.experiments.reading.ranking import rank
from countclip.model.clip import Clip
from countclip.model.embeddings import embed_images, embed_texts, fabric_of
from countclip.model.preprocessing import Preprocessing
from countclip.runtime.csv_files import Columns, raise_problems, read_rows
from countclip.runtime.files import progress, write_table
from countclip.runtime.folders import ImageFolder, inside

COLUMNS = Columns(("path", "word", "kind", "face", "faces", "letters", "height"), files=("path",))


def read_words(
    words_csv: str,
    folder: ImageFolder,
    summary_json: str,
    readers: dict[str, tuple[dict[str, Any], str | None]],
    path: str | Path,
    *,
    model: dict[str, Any],
    question: str,
    answer_template: str,
    accelerator: str,
    precision: str,
    threads: int,
) -> None:
    """Publish the rank of each image's word among all words of its kind, for each reader.

    words_csv: path (in `folder`), word, kind, face, faces (seen or unseen), letters, height (of the
        letters in the image, in pixels).
    readers: name -> its settings and weights, None for zero-shot (`model.make_reader`).
    question: what all of them are asked.
    """
    fabric = fabric_of(accelerator, precision, threads)
    clip = Clip(**model)
    clip.model.to(fabric.device)
    table = pd.DataFrame(read_rows(words_csv, COLUMNS, lambda row, _: row))
    pixels, scales = _pixels(table["path"], folder, clip.preprocessing)
    with fabric.autocast():
        images = embed_images(clip, pixels, show=True).numpy()
        asked = embed_texts(clip, clip.tokenize([question])).numpy()
    parts = []
    for kind, rows in table.groupby("kind", sort=False):
        words = sorted(set(rows["word"]))
        with fabric.autocast():
            tokens = clip.tokenize(answer_template.format(answer=word) for word in words)
            answers = embed_texts(clip, tokens).numpy()
        places = np.array([words.index(word) for word in rows["word"]])
        image = images[rows.index][:, None]
        embedded = Embeddings(image, np.repeat(asked, len(rows), axis=0), answers[places])
        for name, (settings, weights) in readers.items():
            torch.manual_seed(0)
            reader = make_reader(answers.shape[1], summary_json, settings)
            if weights:
                reader.load(weights)
            ranked = rank(queries_of(reader, embedded), answers_of(reader, answers), places)
            parts.append(
                rows.assign(
                    reader=name,
                    rank=ranked.rank,
                    candidates=len(words),
                    height=rows["height"].astype(float) * scales[rows.index],
                    letters=rows["letters"].astype(int),
                    kind=kind,
                )
            )
    write_table(pd.concat(parts, ignore_index=True), path)


def _pixels(
    names: pd.Series, folder: ImageFolder, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """The images as a model sees them, and by which factor they are made smaller."""
    problems, packed, scales = [], [], []

    def images() -> Iterator:
        for name in progress(names, unit="image", desc="words"):
            try:
                yield decode(read_file(inside(folder, name), MAX_BYTES))
            except Unusable as error:
                problems.append(f"{name}: {error}")

    for image in images():
        packed.append(preprocessing.resize(image))
        scales.append(preprocessing.size / min(image.size))
    raise_problems(folder.path, problems)
    return np.stack(packed), np.array(scales)
