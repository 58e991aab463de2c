"""Adapters: the publisher's file and its images -> the rows of a benchmark.

An adapter says of each row what the publisher says: a number, a caption or what is counted, and
where the image is. custom.py judges the rows.
"""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from countclip.data.captions import from_noun
from countclip.data.number_words import NUMBERS
from countclip.runtime.files import inside, progress, sha256, write_json


class Entry(NamedTuple):
    """A row as its publisher has it: a caption, else a noun, else a question says what is counted.

    picture: the file, or its bytes, or None where there is none.
    """

    place: str
    number: int
    picture: Path | bytes | None
    caption: str = ""
    noun: str = ""
    question: str = ""
    is_simple: bool = True


# A word that makes more of a question than what it counts: "... does the bus have".
_MORE = r"(?:are|is|was|were|do|does|did|can|could|has|have|had)\b"
_QUESTION = re.compile(
    rf"how many (?!of\b)(?P<noun>(?!{_MORE})[^ ?]+(?: (?!{_MORE})[^ ?]+)*?)"
    r"(?: (?:are|is)(?: there| shown| seen| visible| pictured)?| can be seen| (?:can|do) you see)?"
    r"(?: in (?:the|this) (?:image|picture|photo|photograph|scene))? ?[?.]*",
    re.IGNORECASE,
)


def noun_of(question: str) -> str:
    """What a plain question counts: "How many red cars are there in the picture?" -> "red cars".

    Empty for one that asks more ("How many wheels does the car have?").
    """
    match = _QUESTION.fullmatch(" ".join(question.split()))
    return match["noun"].rstrip(".") if match else ""


# ---- adapters: the publisher's file, and where its pictures are -> its rows, as they are ----


def folder_csv(path: Path, folder: Path) -> list[Entry]:
    """A CSV of one's own: image (a path in `folder`), number, and caption or noun; others are left.

    ValueError names every wrong line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8; save it as CSV UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    entries, problems = [], []
    try:
        names = set(reader.fieldnames or ())
        if not {"image", "number"} <= names or not {"caption", "noun"} & names:
            raise ValueError(
                f"{path}: the first line must name the columns image, number, and caption or noun,"
                f" separated by commas; it is {text.partition(chr(10))[0].strip()[:200]!r}"
            )
        for line in reader:
            try:
                entries.append(_line(line, f"line {reader.line_num}", folder))
            except ValueError as error:
                problems.append(f"line {reader.line_num}: {error}")
    except csv.Error as error:
        problems.append(f"after line {reader.line_num}: {error}; nothing more was read")
    if problems:
        raise ValueError(f"{path}: {len(problems)} wrong\n  " + "\n  ".join(problems))
    return entries


def _line(line: dict[str, str], place: str, folder: Path) -> Entry:
    if None in line or None in line.values():
        raise ValueError("must have as many fields as the first line; quote one with a comma")
    picture = inside(folder, line["image"].strip())
    line = {name: " ".join(field.split()) for name, field in line.items()}
    if not re.fullmatch(r"-?\d{1,9}", line["number"], re.ASCII):
        raise ValueError(f"number {line['number']!r} must be written in digits")
    caption, noun = line.get("caption", ""), line.get("noun", "")
    if not (caption or noun):
        raise ValueError("needs a caption that names the number, or a noun: what is counted")
    return Entry(place, int(line["number"]), picture, caption=caption, noun=noun)


def countbenchqa(path: Path, _: Path) -> list[Entry]:
    """CountBenchQA as Parquet (vikhyatk/CountBenchQA): image, text, question, number.

    The question says what is counted; with `text`, CountBench's caption, it would be CountBench.
    """
    entries = []
    for n, row in enumerate(_parquet(path, ["image", "question", "number"])):
        picture = row["image"]
        body = picture.get("bytes") if isinstance(picture, dict) else picture
        entries.append(Entry(f"row {n}", row["number"], body, question=row["question"]))
    return entries


def pixmo_count(path: Path, pictures: Path) -> list[Entry]:
    """PixMo-Count as Parquet (allenai/pixmo-count): image_url, image_sha256, count, label.

    Its pictures are known by their sha256, whatever they are called in a folder, or by whatever
    address they came (answers.parquet of check_links.py).
    """
    rows = _parquet(path, ["image_sha256", "count", "label"])
    if pictures.is_dir():
        files = sorted(file for file in pictures.iterdir() if file.is_file())
        found = {sha256(file): file for file in progress(files, unit="file", desc="pictures")}
    else:
        bodies = [row["body"] for row in _parquet(pictures, ["body"])]
        found = {sha256(body): body for body in bodies if body}
    return [
        Entry(f"row {n}", row["count"], found.get(row["image_sha256"]), noun=row["label"])
        for n, row in enumerate(rows)
    ]


def write_links(path: str, links: str, template: str) -> None:
    """The addresses of PixMo-Count's rows of two to ten, as a list that check_links.py reads."""
    rows = _parquet(Path(path), ["image_url", "count", "label"])
    asked = [
        {
            "image_url": row["image_url"],
            "text": from_noun(template, row["label"], row["count"]),
            "number": row["count"],
        }
        for row in rows
        if row["count"] in NUMBERS
    ]
    write_json(asked, links)


def tallyqa(path: Path, folder: Path) -> list[Entry]:
    """TallyQA's test.json (manoja328/TallyQA_dataset), of which the simple questions count.

    image is a path in `folder`: val2014/... (COCO), VG_100K/... or VG_100K_2/... (Visual Genome).
    """
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON: {error}") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path}: must be a list of questions: is it TallyQA's test.json?")
    entries = []
    for n, row in enumerate(rows):
        try:
            entries.append(
                Entry(
                    f"question {row['question_id']}",
                    row["answer"],
                    inside(folder, row["image"]),
                    question=row["question"],
                    is_simple=row["issimple"] is True,
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: entry {n}: {error!r}: is it TallyQA's test.json?") from error
    return entries


class Adapter(NamedTuple):
    """How a publisher's file is read, and what the rules must know before.

    lists_images: it is a CSV whose column `image` lists files. needs_links: without a folder of
    images its links must be checked first.
    """

    read: Callable[[Path, Path], list[Entry]]
    lists_images: bool = False
    needs_links: bool = False


ADAPTERS = {
    "folder": Adapter(folder_csv, lists_images=True),
    "countbenchqa": Adapter(countbenchqa),
    "pixmo_count": Adapter(pixmo_count, needs_links=True),
    "tallyqa": Adapter(tallyqa),
}


def _parquet(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow as pa  # the rules read ADAPTERS, and parse without it
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"{path}: must be Parquet with {', '.join(columns)}: {error}") from error
