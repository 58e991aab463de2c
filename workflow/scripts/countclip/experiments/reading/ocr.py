"""What an OCR engine reads in images.

The engine is RapidOCR, whose models come inside its wheel. It needs no network as long as nothing
is drawn with it.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from countclip.data.images import MAX_BYTES, Unusable, decode, read_file
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
