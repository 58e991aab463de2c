"""What an OCR engine reads in images, and its words matched to the pool: the peer of the readers.

The engine is RapidOCR, whose models come inside its wheel. It needs no network as long as nothing
is drawn with it.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from countclip.data.images import MAX_BYTES, Unusable, decode, read_file
from countclip.experiments.reading.controls import runs
from countclip.runtime.csv_files import raise_problems
from countclip.runtime.files import progress, write_table

log = logging.getLogger(__name__)

LEAST_CONFIDENCE = 0.5


class Engine:
    """RapidOCR on a CPU.

    longest_side: pixels to which an image is resized before text is looked for; about four times
    the height of the largest letters loses nothing and is fast. use_detection: False for images
    that are one line of text.
    """

    def __init__(self, longest_side: int, threads: int, use_detection: bool = True) -> None:
        from rapidocr import RapidOCR  # slow to import

        self.use_detection = use_detection
        self._run = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.use_cls": False,  # text stands upright on signs
                "Global.text_score": LEAST_CONFIDENCE,
                "Det.limit_type": "max",
                "Det.limit_side_len": longest_side,
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def __call__(self, image: Any) -> tuple[list[str], list[list[float]], list[float]]:
        """Words, their boxes (x, y, width, height as shares) and confidences of a PIL image.

        A line is split at blanks, and its box by the letters.
        """
        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])  # as OpenCV
        found = self._run(pixels, use_det=self.use_detection, use_cls=False, use_rec=True)
        texts = list(found.txts or ())
        corners = getattr(found, "boxes", None)
        words, boxes, confidences = [], [], []
        for place, text in enumerate(texts):
            line = (0.0, 0.0, 1.0, 1.0)
            if corners is not None and len(corners) == len(texts):
                line = _box(np.asarray(corners[place], float), *image.size)
            start = 0
            for word in text.split():
                start = text.index(word, start)
                x, y, width, height = line
                share = len(word) / len(text)
                words.append(word)
                boxes.append([x + width * start / len(text), y, width * share, height])
                confidences.append(float(found.scores[place]))
                start += len(word)
        return words, boxes, confidences


def _box(corners: np.ndarray, width: int, height: int) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height


def read_images(
    images: Iterable[tuple[str, Path | bytes]], engine: Engine, ocr_parquet: str | Path
) -> None:
    """Publish what is read in each image: index, image_id, words, boxes, confidences.

    images: in the order of the images table. ValueError lists all that cannot be read.
    """
    import pyarrow as pa

    ids, read, problems = [], [], []
    for name, stored in progress(images, unit="image", desc="ocr"):
        ids.append(name)
        try:
            body = stored if isinstance(stored, bytes) else read_file(stored, MAX_BYTES)
            read.append(engine(decode(body)))
        except Unusable as error:
            problems.append(f"{name}: {error}")
    raise_problems("images of the questions", problems)
    words, boxes, confidences = (list(column) for column in zip(*read, strict=True))
    table = {
        "index": pa.array(range(len(ids)), pa.int32()),
        "image_id": pa.array(ids, pa.string()),
        "words": pa.array(words, pa.list_(pa.string())),
        "boxes": pa.array(boxes, pa.list_(pa.list_(pa.float64()))),
        "confidences": pa.array(confidences, pa.list_(pa.float64())),
    }
    write_table(pa.table(table), ocr_parquet)
    log.info("%d words in %d images", sum(map(len, words)), len(ids))


class Matcher:
    """The answer of the pool that OCR's words suggest.

    A run of words that equals an answer wins: the longest run, then the first. Elsewhere the answer
    within `LARGEST_SHARE` of a run's letters changed, the least of them, then the one earlier in
    the pool. Else the most frequent answer.
    """

    LARGEST_SHARE = 0.34

    def __init__(self, pool: Sequence[str]) -> None:
        self.place_of = {answer: place for place, answer in enumerate(pool)}
        self.by_length: dict[int, list[tuple[str, int]]] = {}
        for answer, place in self.place_of.items():
            self.by_length.setdefault(len(answer), []).append((answer, place))

    def __call__(self, words: Sequence[str]) -> int:
        """The place of the answer in the pool."""
        candidates = runs(words)
        equal = [run for run in candidates if run in self.place_of]
        if equal:
            return self.place_of[max(equal, key=lambda run: (len(run.split()), len(run)))]
        best = (self.LARGEST_SHARE, 0)
        for run in candidates:
            for answer, place in self._alike(run, best[0]):
                longer = max(len(run), len(answer))
                best = min(best, (distance(run, answer, int(best[0] * longer)) / longer, place))
        return best[1]

    def _alike(self, run: str, share: float) -> Iterable[tuple[str, int]]:
        """Answers whose length does not rule them out."""
        for length, answers in self.by_length.items():
            if abs(length - len(run)) <= share * max(length, len(run)):
                yield from answers


def distance(one: str, other: str, most: int) -> int:
    """Levenshtein's distance of two texts; `most` + 1 where it is larger than that."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, another in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (letter != another))
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


def match(ocr_parquet: str | Path, images: Sequence[int], pool: Sequence[str]) -> np.ndarray:
    """The places (Q,) that the words in the image of each question suggest.

    images: index of each question's image.
    """
    read = pd.read_parquet(ocr_parquet).sort_values("index")["words"]
    matcher = Matcher(pool)
    of_image = {int(index): matcher(list(read.iloc[index])) for index in np.unique(images)}
    return np.array([of_image[int(index)] for index in images])
