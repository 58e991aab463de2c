"""Adapters: the publisher's file and its images -> the rows of a benchmark.

An adapter returns each row as published: a number, a caption or what is counted, and the image.
custom.py checks the rows.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from countclip.data.captions import from_noun
from countclip.data.number_words import NUMBERS
from countclip.data.published_sets import files_by_sha256, read_parquet
from countclip.runtime.csv_files import Columns, read_rows
from countclip.runtime.files import read_json, sha256, write_json
from countclip.runtime.folders import ImageFolder, inside


class Entry(NamedTuple):
    """A row as published.

    A caption, else a noun, else a question tells what is counted.
    place: of the row in the publisher's file. image: a file, or its bytes, or None if missing.
    """

    place: str
    number: int
    image: Path | bytes | None
    caption: str = ""
    noun: str = ""
    question: str = ""
    is_simple: bool = True


# ---- adapters: the publisher's file, and the place of its images -> its rows, unchanged ----


def folder_csv(path: Path, folder: ImageFolder) -> list[Entry]:
    """A user's CSV: image (a path in `folder`), number, and caption or noun.

    Other columns are ignored. ValueError names every wrong line.
    """
    columns = Columns(("image", "number"), one_of=("caption", "noun"), files=("image",))
    return read_rows(
        path, columns, lambda fields, line: _folder_entry(fields, f"line {line}", folder)
    )


def _folder_entry(fields: dict[str, str], place: str, folder: ImageFolder) -> Entry:
    image = inside(folder, fields["image"])
    fields = {name: " ".join(field.split()) for name, field in fields.items()}
    if not re.fullmatch(r"-?\d{1,9}", fields["number"], re.ASCII):
        raise ValueError(f"number {fields['number']!r} must be written in digits")
    caption, noun = fields.get("caption", ""), fields.get("noun", "")
    if not (caption or noun):
        raise ValueError("needs a caption that names the number, or a noun: what is counted")
    return Entry(place, int(fields["number"]), image, caption=caption, noun=noun)


def countbenchqa(path: Path, _: ImageFolder) -> list[Entry]:
    """CountBenchQA as Parquet (vikhyatk/CountBenchQA): image, text, question, number.

    The question tells what is counted. `text`, CountBench's caption, is left out: with it the
    benchmark would be CountBench.
    """
    entries = []
    for n, row in enumerate(read_parquet(path, ["image", "question", "number"])):
        image = row["image"]
        body = image.get("bytes") if isinstance(image, dict) else image
        entries.append(Entry(f"row {n}", row["number"], body, question=row["question"]))
    return entries


def pixmo_count(path: Path, images: ImageFolder) -> list[Entry]:
    """PixMo-Count as Parquet (allenai/pixmo-count): image_url, image_sha256, count, label.

    images: a folder of files and folders, or the Parquet file of check_links.py. Either way an
        image is found by its sha256, not by its name or address.
    """
    rows = read_parquet(path, ["image_sha256", "count", "label"])
    if images.path.is_dir():
        found = files_by_sha256(images.path)
    else:
        bodies = [row["body"] for row in read_parquet(images.path, ["body"])]
        found = {sha256(body): body for body in bodies if body}
    return [
        Entry(f"row {n}", row["count"], found.get(row["image_sha256"]), noun=row["label"])
        for n, row in enumerate(rows)
    ]


def write_links(path: str, links_json: str, template: str) -> None:
    """Write the links of PixMo-Count's rows of two to ten as a list for check_links.py."""
    rows = read_parquet(Path(path), ["image_url", "count", "label"])
    links = [
        {
            "image_url": row["image_url"],
            "text": from_noun(template, row["label"], row["count"]),
            "number": row["count"],
        }
        for row in rows
        if row["count"] in NUMBERS
    ]
    write_json(links, links_json)


def tallyqa(path: Path, folder: ImageFolder) -> list[Entry]:
    """TallyQA's test.json (manoja328/TallyQA_dataset); only its simple questions are measured on.

    folder: holds val2014/ (COCO), VG_100K/ and VG_100K_2/ (Visual Genome), as `image` has them.
    """
    rows = read_json(path)
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
    """A reader of a publisher's file, and what the rules must know of it.

    lists_images: the file is a CSV whose column `image` lists files.
    needs_links: without a folder of images, its links must be checked first.
    """

    read: Callable[[Path, ImageFolder], list[Entry]]
    lists_images: bool = False
    needs_links: bool = False


ADAPTERS = {
    "folder": Adapter(folder_csv, lists_images=True),
    "countbenchqa": Adapter(countbenchqa),
    "pixmo_count": Adapter(pixmo_count, needs_links=True),
    "tallyqa": Adapter(tallyqa),
}
