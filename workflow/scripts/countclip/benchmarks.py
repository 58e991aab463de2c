"""Which further benchmarks are there, and how do their rows become such as CountBench's?

An adapter reads what a publisher gives, files of this machine, and says of each row what the
publisher says: a number, a caption or what is counted, and where the picture is. The rest is the
same for all of them. No row goes silently: it keeps its place, with the reason why it is left out.
"""

import csv
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from countclip import countbench
from countclip.captions import NUMBERS, from_noun, word_for
from countclip.files import inside, progress, publish, sha256, write_json, write_table
from countclip.pictures import Unusable

log = logging.getLogger(__name__)

STATUSES = {
    "included": "is measured on",
    "complex": "its publisher calls the question complex",
    "question": "its question is more than how many of something there are",
    "number": "its number is not one of two to ten",
    "caption": "its caption does not name its number as a whole word",
    "missing": "its picture is not there",
    "too_large": "its picture's file has too many bytes",
    "undecodable": countbench.STATUSES["undecodable"],
    "not_an_image": countbench.STATUSES["not_an_image"],
    "too_small": countbench.STATUSES["too_small"],
    "placeholder": "its picture shows nothing to count: it is flat, or stands in for another",
}
"""What becomes of a row, in the order in which it is asked."""
SCHEMA = pa.schema(
    {
        "index": pa.int32(),
        "place": pa.string(),  # where the publisher has it
        "caption": pa.string(),
        "number": pa.int64(),
        "status": pa.string(),  # of STATUSES
        "detail": pa.string(),
        "sha256": pa.string(),
        "phash": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "included": pa.bool_(),
    }
)
"""Of benchmark.parquet, with one row for each of the publisher's."""
IMAGES = pa.schema({"index": pa.int32(), "sha256": pa.string(), "image": pa.large_binary()})
"""Of images.parquet, with one row for each that is measured on."""
BATCH = 16  # pictures that are in memory at a time


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


def read(
    path: str,
    benchmark: str,
    images: str,
    summary: str,
    *,
    source: str,
    pictures: str,
    template: str,
    expected: str | None,
    max_bytes: int,
    picture: dict[str, int],
) -> None:
    """Publish a benchmark's rows (SCHEMA), its pictures (IMAGES) and the funnel between them.

    path: the publisher's file. source: one of ADAPTERS. pictures: the folder that they are in; of
        PixMo-Count, what its addresses answered, if not a folder.
    template: see `captions.from_noun`, for rows without a caption. expected: sha256 of `path`.
    max_bytes: of a picture's file. picture: max_pixels and min_side (`countbench.examine`).
    Raises ValueError for a file that is not what `source` says, and when no row is left.
    """
    if expected and sha256(path) != expected:
        raise ValueError(f"{path}: its sha256 is {sha256(path)}, not {expected}: get it anew")
    if not Path(pictures).exists():
        raise ValueError(f"{pictures}: no such folder; the benchmark's key `images` must name one")
    entries = ADAPTERS[source](Path(path), Path(pictures))
    _check(entries, path)
    rows: list[dict[str, Any]] = []
    pending = iter(progress(entries, unit="row", desc="rows"))
    with (
        publish(images) as temporary,
        pq.ParquetWriter(temporary, IMAGES, compression="zstd") as writer,
    ):
        while batch := list(islice(pending, BATCH)):
            kept = []
            for entry in batch:
                row, body = _judge(entry, len(rows), template, max_bytes, picture)
                rows.append(row)
                if row["included"]:
                    kept.append({"index": row["index"], "sha256": row["sha256"], "image": body})
            if kept:
                writer.write_table(pa.Table.from_pylist(kept, schema=IMAGES))
        counts = _funnel(rows, source)
        if not counts["included"]:
            why = "; ".join(f"{n}: {STATUSES[status]}" for status, n in counts["left_out"].items())
            first = f"{rows[0]['place']}: {rows[0]['status']} {rows[0]['detail']}"
            raise ValueError(f"{path}: no row is left to measure on. {why}. {first}")
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), benchmark)
    write_json(counts, summary)


def rows_of(benchmark: str) -> dict[int, int]:
    """Index -> number of the rows that are measured on."""
    table = pq.read_table(benchmark, columns=["index", "number", "included"])
    return {row["index"]: row["number"] for row in table.to_pylist() if row["included"]}


def _judge(
    entry: Entry, index: int, template: str, max_bytes: int, picture: dict[str, int]
) -> tuple[dict[str, Any], bytes]:
    """What becomes of a row, in the columns of SCHEMA, and the bytes of its picture."""
    row = {"index": index, "place": entry.place, "number": entry.number, "included": False}
    try:
        row["caption"] = _caption(entry, template)
        body = _body(entry, max_bytes)
        about, status, detail = countbench.examine(body, **picture)
        if status != "alive":
            raise Unusable(status, detail)
    except Unusable as error:
        return {**row, "status": error.status, "detail": error.detail}, b""
    row |= {"status": "included", "detail": "", "included": True}
    return {**row, **about._asdict()}, body


def _check(entries: list[Entry], path: str) -> None:
    """ValueError for a row with values of another kind than such a file has."""
    if not entries:
        raise ValueError(f"{path}: has no row")
    for entry in entries:
        if type(entry.number) is not int or abs(entry.number) >= 2**31:
            raise ValueError(f"{path}: {entry.place}: {entry.number!r} is no number of things")
        texts = (entry.caption, entry.noun, entry.question)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{path}: {entry.place}: {texts} must be texts")
        if not isinstance(entry.picture, Path | bytes | None):
            raise ValueError(f"{path}: {entry.place}: its picture must be the bytes of a file")


def _caption(entry: Entry, template: str) -> str:
    if not entry.is_simple:
        raise Unusable("complex", entry.question[:200])
    noun = entry.noun or noun_of(entry.question)
    if not (entry.caption or noun):
        raise Unusable("question", entry.question[:200])
    if entry.number not in NUMBERS:
        raise Unusable("number", str(entry.number))
    if not entry.caption:
        return from_noun(template, noun, entry.number)
    try:
        word_for(entry.caption, entry.number)
    except ValueError as error:
        raise Unusable("caption", entry.caption[:200]) from error
    return entry.caption


def _body(entry: Entry, max_bytes: int) -> bytes:
    if entry.picture is None:
        raise Unusable("missing", "")
    if isinstance(entry.picture, Path):
        if not entry.picture.is_file():
            raise Unusable("missing", str(entry.picture))
        with open(entry.picture, "rb") as file:
            body = file.read(max_bytes + 1)
    else:
        body = entry.picture
    if len(body) > max_bytes:
        raise Unusable("too_large", f"more than {max_bytes} bytes")
    return body


def _funnel(rows: list[dict[str, Any]], source: str) -> dict[str, Any]:
    """How many rows there are, how many are measured on, and why the others are not."""
    found = Counter(row["status"] for row in rows)
    numbers = [row["number"] for row in rows if row["included"]]
    left_out = {status: found[status] for status in STATUSES if found[status]}
    left_out.pop("included", None)
    log.info("%d of %d rows are measured on", len(numbers), len(rows))
    for status, n in left_out.items():
        log.info("%d left out: %s", n, STATUSES[status])
    return {
        "source": source,
        "rows": len(rows),
        "left_out": left_out,
        "included": len(numbers),
        "n_per_class": countbench.per_class(numbers),
    }


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
    address they came (answers.parquet of asking.py).
    """
    rows = _parquet(path, ["image_sha256", "count", "label"])
    if pictures.is_dir():
        files = sorted(file for file in pictures.iterdir() if file.is_file())
        found = {sha256(file): file for file in progress(files, unit="file", desc="pictures")}
    else:
        bodies = pq.read_table(pictures, columns=["body"])["body"].to_pylist()
        found = {sha256(body): body for body in bodies if body}
    return [
        Entry(f"row {n}", row["count"], found.get(row["image_sha256"]), noun=row["label"])
        for n, row in enumerate(rows)
    ]


def write_links(path: str, links: str, template: str) -> None:
    """The addresses of PixMo-Count's rows of two to ten, as a list that asking.py reads."""
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


ADAPTERS: dict[str, Callable[[Path, Path], list[Entry]]] = {
    "folder": folder_csv,
    "countbenchqa": countbenchqa,
    "pixmo_count": pixmo_count,
    "tallyqa": tallyqa,
}


def _parquet(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    try:
        return pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"{path}: must be Parquet with {', '.join(columns)}: {error}") from error
