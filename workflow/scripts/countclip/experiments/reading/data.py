"""TextVQA v0.5.1 and sets of its form: questions on the text in images, checked.

A split comes as the publisher's JSON beside a folder of images, or as Parquet files with the
images inside (lmms-lab/textvqa). OCR comes with the Parquet, or from Rosetta's JSON. It becomes two
tables:

- questions: question_id, image (its index), image_id, question, answers (ten).
- images: index, image_id, words and boxes. They are in the order of their first question. Both are
  null without OCR, boxes also where only words are known: x, y, width, height as shares of the
  image.

All that is read is bounded, and addresses in the files are never followed.
"""

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from countclip.experiments.reading.metric import ANSWERS, majority, normalise
from countclip.runtime import files
from countclip.runtime.csv_files import raise_problems
from countclip.runtime.files import sha256, write_json, write_table
from countclip.runtime.folders import ImageFolder, inside
from countclip.runtime.machine import raise_machine_error

log = logging.getLogger(__name__)

SPLITS = ("train", "validation")
"""Splits whose answers are public."""
COUNTS = {"train": (34_602, 21_953), "validation": (5_000, 3_166)}
"""Questions and images of each split of TextVQA v0.5.1."""
MAX_FILE = 1_000_000_000
"""Bytes of a JSON file, and of the texts in a Parquet file; those of TextVQA have up to 0.1 GB."""
MAX_QUESTIONS = 1_000_000
MAX_TEXT = 2_000
"""Characters of a question, an answer or a word of OCR."""
MAX_WORDS = 10_000
"""Words of OCR in an image."""
SHOWN = 5
_IMAGE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_BOX = ("top_left_x", "top_left_y", "width", "height")
_TEXTS = ("image_id", "question_id", "question", "answers")

Box = tuple[float, float, float, float]


class Reading(NamedTuple):
    """What an OCR engine reads in an image; boxes is None where it says no places."""

    words: list[str]
    boxes: list[Box] | None


class Question(NamedTuple):
    """A question on an image. place: of its entry in the publisher's file."""

    place: str
    question_id: int
    image_id: str
    question: str
    answers: list[str]
    ocr: Reading | None = None


# ---- reading ----


def read_json(path: str | Path) -> list[Question]:
    """The questions of the publisher's JSON; ValueError lists every wrong entry."""
    return _checked(path, enumerate(_entries(path, "questions")), _question)


def read_parquet(paths: Sequence[str | Path]) -> list[Question]:
    """The questions of Parquet files, in the order of the files; ValueError as `read_json`."""
    questions, rows = [], 0
    for path in paths:
        found = _checked(path, enumerate(_rows(path, _TEXTS, ("ocr_tokens",)), rows), _question)
        questions += found
        rows += len(found)
    _raise_twice(", ".join(map(str, paths)), questions)
    return questions


def _entries(path: str | Path, what: str) -> list[Any]:
    if (size := Path(path).stat().st_size) > MAX_FILE:
        raise ValueError(
            f"{path}: {size:,} bytes, of at most {MAX_FILE:,}: is it TextVQA's JSON of {what}?"
        )
    try:
        body = files.read_json(path)
    except ValueError as error:  # such as a number of 5,000 digits, which names no file
        message = str(error)
        raise ValueError(
            message if message.startswith(str(path)) else f"{path}: {message}"
        ) from error
    entries = body.get("data") if isinstance(body, dict) else None
    if not (isinstance(entries, list) and entries):
        raise ValueError(
            f"{path}: must be an object with a list `data` of {what}, as TextVQA v0.5.1 has it"
        )
    if len(entries) > MAX_QUESTIONS:
        raise ValueError(f"{path}: {len(entries):,} entries, of at most {MAX_QUESTIONS:,}")
    return entries


def _checked(
    path: str | Path,
    entries: Iterable[tuple[int, Any]],
    question_of: Callable[[str, Any], Question],
) -> list[Question]:
    questions, problems = [], []
    for number, entry in entries:
        place = f"entry {number}"
        if isinstance(entry, dict) and _is_id(entry.get("question_id")):
            place += f" (question {entry['question_id']})"
        try:
            questions.append(question_of(place, entry))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    raise_problems(path, problems)
    _raise_twice(path, questions)
    return questions


def _question(place: str, entry: Any) -> Question:
    if not isinstance(entry, dict):
        raise ValueError("must be an object with question_id, image_id, question and answers")
    number = entry.get("question_id")
    if not _is_id(number):
        raise ValueError(f"question_id {_shown(number)} must be a whole number")
    image_id = entry.get("image_id")
    if not (isinstance(image_id, str) and _IMAGE_ID.fullmatch(image_id)):
        raise ValueError(
            f"image_id {_shown(image_id)} must be letters, digits, _ and -, such as"
            " 0054c91397f2fe05"
        )
    question = _text(entry.get("question"), "question")
    if not question:
        raise ValueError("the question is empty")
    answers = entry.get("answers")
    if not answers:
        raise ValueError(
            "has no answers: those of the test split are not public, so use train and validation"
        )
    if not isinstance(answers, list) or len(answers) != ANSWERS:
        n = f"{len(answers)} answers" if isinstance(answers, list) else "answers that are no list"
        raise ValueError(f"has {n}; TextVQA has {ANSWERS}, one an annotator: correct the file")
    answers = [_text(answer, "answer") for answer in answers]
    tokens = entry.get("ocr_tokens")
    ocr = None if tokens is None else _reading(tokens, entry.get("ocr_info"))
    return Question(place, number, image_id, question, answers, ocr)


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} {_shown(value)} must be a text")
    if len(value) > MAX_TEXT:
        raise ValueError(f"{what} of {len(value):,} characters, of at most {MAX_TEXT:,}")
    if any("\ud800" <= sign <= "\udfff" for sign in value):
        raise ValueError(f"{what} {_shown(value)} has half of a character: correct it")
    return value.strip()


def _shown(value: Any) -> str:
    """Any value of a file as a short text for a message."""
    if isinstance(value, str):
        return ascii(value[:80])
    return (
        ascii(value)
        if value is None or type(value) in (bool, float) or _is_id(value)
        else (f"of the type {type(value).__name__}")
    )


def _raise_twice(path: str | Path, questions: list[Question]) -> None:
    first: dict[int, Question] = {}
    problems = [
        f"{one.place}: has the question_id of {before.place} too: delete one, or number it anew"
        for one in questions
        if (before := first.setdefault(one.question_id, one)) is not one
    ]
    raise_problems(path, problems)


# ---- OCR ----


def read_ocr(path: str | Path) -> dict[str, Reading]:
    """What Rosetta's JSON (v0.2) reads, by image_id; ValueError lists every wrong entry."""
    readings, problems = {}, []
    for number, entry in enumerate(_entries(path, "OCR")):
        image_id = entry.get("image_id") if isinstance(entry, dict) else None
        try:
            if not (isinstance(image_id, str) and _IMAGE_ID.fullmatch(image_id)):
                raise ValueError(f"image_id {_shown(image_id)} must be that of an image")
            if image_id in readings:
                raise ValueError(f"image {image_id} has an entry already: delete one")
            readings[image_id] = _reading(entry.get("ocr_tokens"), entry.get("ocr_info"))
        except ValueError as error:
            problems.append(f"entry {number}: {error}")
    raise_problems(path, problems)
    return readings


def _reading(tokens: Any, info: Any) -> Reading:
    """Words of `ocr_tokens`, and the boxes of `ocr_info` where it has one for each."""
    if not isinstance(tokens, list) or len(tokens) > MAX_WORDS:
        raise ValueError(f"ocr_tokens must be a list of at most {MAX_WORDS:,} words")
    words = [_text(token, "word of ocr_tokens") for token in tokens]
    if info is None or (isinstance(info, list) and len(info) != len(words)):
        return Reading(words, None)
    if not isinstance(info, list):
        raise ValueError("ocr_info must be a list")
    return Reading(words, [_box(one) for one in info])


def _box(info: Any) -> Box:
    box = info.get("bounding_box") if isinstance(info, dict) else None
    values = [box.get(name) if isinstance(box, dict) else None for name in _BOX]
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise ValueError(f"ocr_info: a bounding_box must have the numbers {', '.join(_BOX)}")
    return tuple(map(float, values))


# ---- images ----


def image_files(questions: Sequence[Question], folder: ImageFolder) -> dict[str, Path]:
    """image_id -> file `<image_id>.jpg` in the folder; ValueError names those that are missing."""
    found, missing = {}, []
    for image_id in dict.fromkeys(one.image_id for one in questions):
        paths = (inside(folder, image_id + suffix) for suffix in _SUFFIXES)
        if path := next((path for path in paths if path.exists()), None):
            found[image_id] = path
        else:
            missing.append(image_id)
    if missing:
        ids = set(missing)
        entries = [one.place for one in questions if one.image_id in ids]
        raise ValueError(
            f"{folder.path}: {len(missing):,} of {len(missing) + len(found):,} images are missing:"
            f" {_some(f'{name}.jpg' for name in missing)}, of {_some(entries)}; unpack"
            " train_val_images.zip, and name its folder train_images"
        )
    return found


def parquet_images(paths: Sequence[str | Path]) -> Iterator[tuple[str, bytes]]:
    """Yield image_id and file of each distinct image, in the order of its first question.

    An image is stored with each of its questions. The file is b"" where the first has none.
    """
    seen = set()
    for path in paths:
        for row in _rows(path, ("image_id", "image"), batch=16):
            if row["image_id"] not in seen:
                seen.add(row["image_id"])
                image = row["image"]
                body = image.get("bytes") if isinstance(image, dict) else image
                yield row["image_id"], body if isinstance(body, bytes) else b""


def _rows(
    path: str | Path, columns: Sequence[str], optional: Sequence[str] = (), batch: int = 256
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file with `columns`, and with those of `optional` that it has."""
    import pyarrow as pa  # slow to import, and JSON needs none
    import pyarrow.parquet as pq

    needed = f"Parquet with the columns {', '.join(columns)}, as lmms-lab/textvqa has it"
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            names = file.schema_arrow.names
            if lacking := [name for name in columns if name not in names]:
                raise ValueError(f"{path}: has no column {', '.join(lacking)}; it must be {needed}")
            if file.metadata.num_rows > MAX_QUESTIONS:
                n = file.metadata.num_rows
                raise ValueError(f"{path}: {n:,} rows, of at most {MAX_QUESTIONS:,}")
            chosen = [*columns, *(name for name in optional if name in names)]
            if "image" not in chosen and (size := _text_bytes(file.metadata, chosen)) > MAX_FILE:
                raise ValueError(f"{path}: {size:,} bytes of texts, of at most {MAX_FILE:,}")
            for part in file.iter_batches(batch_size=batch, columns=chosen):
                yield from part.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise_machine_error(error)
        raise ValueError(f"{path}: must be {needed}: {error}") from error


def _text_bytes(metadata: Any, columns: Sequence[str]) -> int:
    """Bytes of some columns of a Parquet file when unpacked, as its footer says."""
    groups = (metadata.row_group(place) for place in range(metadata.num_row_groups))
    parts = (group.column(place) for group in groups for place in range(group.num_columns))
    return sum(
        part.total_uncompressed_size
        for part in parts
        if part.path_in_schema.partition(".")[0] in columns
    )


# ---- the tables ----


def make_split(
    questions: Sequence[Question],
    sources: Sequence[str | Path],
    *,
    split: str,
    counts: tuple[int, int] | None,
    ocr: str | Path | None,
    questions_parquet: str | Path,
    images_parquet: str | Path,
    summary_json: str | Path,
) -> dict[str, Any]:
    """Publish the tables of a split, and a summary, which is returned.

    sources: the files that the questions are from. counts: questions and images that there must be
    (`COUNTS` for TextVQA); None takes any. ocr: Rosetta's JSON, in place of the OCR in `sources`.
    """
    import pyarrow as pa

    place = ", ".join(map(str, sources))
    index = {name: i for i, name in enumerate(dict.fromkeys(one.image_id for one in questions))}
    if counts and (len(questions), len(index)) != tuple(counts):
        raise ValueError(
            f"{place}: {len(questions):,} questions on {len(index):,} images; the {split} split of"
            f" TextVQA v0.5.1 has {counts[0]:,} on {counts[1]:,}. An accuracy of a part of them"
            " compares with none: get all files anew, or name another data set"
        )
    readings = read_ocr(ocr) if ocr else _with_questions(questions)
    read = [readings.get(name) for name in index]
    without = [name for name, one in zip(index, read, strict=True) if one is None]
    if ocr and len(without) == len(index):
        raise ValueError(f"{ocr}: has none of the images of {place}: is it of another split?")
    if without and len(without) < len(index):
        log.warning("%s: %d of %d images have no OCR, as if no word stood in them: %s",
                    ocr or place, len(without), len(index), _some(without))  # fmt: skip
        read = [one or Reading([], []) for one in read]
    table = {
        "question_id": pa.array([one.question_id for one in questions], pa.int64()),
        "image": pa.array([index[one.image_id] for one in questions], pa.int32()),
        "image_id": pa.array([one.image_id for one in questions], pa.string()),
        "question": pa.array([one.question for one in questions], pa.string()),
        "answers": pa.array([one.answers for one in questions], pa.list_(pa.string())),
    }
    boxes = [one.boxes and [*map(list, one.boxes)] if one else None for one in read]
    images = {
        "index": pa.array(range(len(index)), pa.int32()),
        "image_id": pa.array([*index], pa.string()),
        "words": pa.array([one and one.words for one in read], pa.list_(pa.string())),
        "boxes": pa.array(boxes, pa.list_(pa.list_(pa.float64()))),
    }
    summary = {
        "split": split,
        "sources": {str(path): sha256(path) for path in [*sources, *([ocr] if ocr else [])]},
        "questions": len(questions),
        "images": len(index),
        "images_without_ocr": len(without),
    }
    write_table(pa.table(table), questions_parquet)
    write_table(pa.table(images), images_parquet)
    write_json(summary, summary_json)
    return summary


def _with_questions(questions: Sequence[Question]) -> dict[str, Reading]:
    """The OCR that came with the questions, by image."""
    readings: dict[str, Reading] = {}
    for one in questions:
        if one.ocr is not None:
            readings.setdefault(one.image_id, one.ocr)
    return readings


def read_questions(questions_parquet: str | Path) -> pd.DataFrame:
    """The questions of a split; `answers` holds a list of ten texts."""
    table = pd.read_parquet(questions_parquet)
    return table.assign(answers=[list(answers) for answers in table["answers"]])


def overlap(train: pd.DataFrame, validation: pd.DataFrame) -> dict[str, float]:
    """What two tables of questions share: images, and shares of the second's questions.

    question: with the words of a training question. answer: with the majority answer of one.
    """
    asked = set(map(normalise, train["question"]))
    told = set(map(majority, train["answers"]))
    return {
        "images": len(set(train["image_id"]) & set(validation["image_id"])),
        "question": float(validation["question"].map(normalise).isin(asked).mean()),
        "answer": float(validation["answers"].map(majority).isin(told).mean()),
    }


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if names[SHOWN:] else "")
