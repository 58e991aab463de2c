"""Counting sets from images that somebody counted: a CSV of a user's, or a published set.

Each source becomes the candidates of a part, as the filter writes them of LAION, and the manifest
of its images, as the fetch writes it. No address is requested: images are read where they lie.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from countclip.data import number_words
from countclip.data.captions import from_noun
from countclip.data.local_images import check_all, write_manifest
from countclip.data.nouns import Nouns, plurals
from countclip.data.number_words import NUMBERS, NumberWord
from countclip.data.published_sets import counted_noun, files_by_sha256, read_parquet
from countclip.runtime.csv_files import Columns, read_rows
from countclip.runtime.files import read_json, sha256, write_json, write_table
from countclip.runtime.folders import ImageFolder, inside

log = logging.getLogger(__name__)

CANDIDATES = pa.schema(
    {
        "sample_id": pa.string(),  # where the source has it
        "url": pa.string(),  # the image as the source names it
        "caption": pa.string(),
        "number": pa.int8(),  # null: a non-counting row
        "number_start": pa.int32(),
        "number_end": pa.int32(),
        "words": pa.list_(pa.struct({"number": pa.int8(), "start": pa.int32(), "end": pa.int32()})),
        "noun": pa.string(),  # what somebody counted, or its class, if the source says so
    }
)
"""The columns that the filter writes of LAION (filtering.py), and the noun."""
DROPPED = {
    "caption": "its caption does not name its number as a whole word",
    "number": "its number is not one of two to ten, and it has no caption",
    "several_numbers": "its caption names several numbers, and no column says which counts",
    "question": "its question restricts what is counted",
    "complex": "its publisher calls the question complex",
    "not_named": "its caption counts no class that is annotated",
    "another_number": "another number of them is annotated",
    "crowd": "they are annotated as a crowd, which nobody counted",
}
"""Reasons why a row is no pair."""


class Dropped(ValueError):
    """A row that is no pair; its text is a key of DROPPED."""


@dataclass(frozen=True)
class Row:
    """A row of a source. image: its file; None if it is not there.

    number: how many there are; None where nobody counted. class_name: of what is counted, where it
    is not the noun. dropped: a key of DROPPED, if it is no pair whatever its caption says.
    """

    place: str
    name: str
    image: Path | None
    caption: str = ""
    noun: str = ""
    number: int | None = None
    class_name: str = ""
    dropped: str = ""


@dataclass(frozen=True)
class Source:
    """Where the rows come from: `path`, the folder of images, and what COCO needs beside them.

    captions: COCO's JSON of captions, or None for a template. nouns_csv: the nouns of its classes.
    """

    path: Path
    folder: ImageFolder
    captions: Path | None = None
    nouns_csv: str | None = None


# ---- sources ----


def folder_csv(source: Source) -> list[Row]:
    """A user's CSV: image, caption or noun or both, and number where somebody counted."""

    def row(fields: dict[str, str], line: int) -> Row:
        image = inside(source.folder, fields["image"])
        texts = {key: " ".join(fields.get(key, "").split()) for key in ("caption", "noun")}
        number = fields.get("number", "")
        if not any(texts.values()):
            raise ValueError("needs a caption, or a noun: what is counted")
        if number and not (number.isascii() and number.isdigit() and len(number) < 10):
            raise ValueError(f"number {number!r} must be written in digits, or left empty")
        counted = int(number) if number else None
        return Row(f"line {line}", fields["image"], image, **texts, number=counted)

    columns = Columns(("image",), one_of=("caption", "noun"), files=("image",))
    return read_rows(source.path, columns, row)


def pixmo_count(source: Source) -> list[Row]:
    """PixMo-Count as Parquet (allenai/pixmo-count); an image is found by its sha256."""
    rows = read_parquet(source.path, ["image_url", "image_sha256", "count", "label"])
    found = files_by_sha256(source.folder.path)
    return [
        Row(
            f"row {n}",
            row["image_url"] or "",
            found.get(row["image_sha256"]),
            noun=_text(row["label"], f"{source.path}: row {n}: label"),
            number=_count(row["count"], f"{source.path}: row {n}: count"),
        )
        for n, row in enumerate(rows)
    ]


def tallyqa(source: Source) -> list[Row]:
    """TallyQA's train.json or test.json (manoja328/TallyQA_dataset): its plain questions.

    The folder holds train2014/, val2014/ (COCO), VG_100K/ and VG_100K_2/ (Visual Genome).
    """
    questions = read_json(source.path)
    wrong = f"{source.path}: is it TallyQA's train.json or test.json?"
    if not isinstance(questions, list):
        raise ValueError(f"{wrong} It must be a list of questions")
    rows = []
    for n, question in enumerate(questions):
        place = f"{source.path}: entry {n}"
        try:
            name, text = question["image"], question["question"]
            number = _count(question["answer"], place)
            is_simple = question.get("issimple", True) is True  # train.json does not say
            noun = counted_noun(_text(text, place))
            dropped = "" if is_simple and noun else "question" if is_simple else "complex"
            image = inside(source.folder, _text(name, place))
            identifier = f"question {question.get('question_id', n)}"
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{wrong} Entry {n}: {error!r}") from error
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        rows.append(Row(identifier, name, image, noun=noun, number=number, dropped=dropped))
    return rows


def coco(source: Source) -> list[Row]:
    """COCO's instances, or another set in its form: classes are counted by their annotations.

    With captions, a caption that counts a class must name its annotated number. Without, each image
    has one caption: of its most frequent class of two to ten, or of all its classes.
    """
    path = source.path
    instances = _members(path, ("images", "annotations", "categories"), "COCO's instances")
    try:
        names = {one["id"]: _text(one["name"], "name") for one in instances["categories"]}
        files = {one["id"]: _text(one["file_name"], "file_name") for one in instances["images"]}
        counts: dict[Any, Counter[int]] = defaultdict(Counter)
        crowds: dict[Any, set[int]] = defaultdict(set)
        for one in instances["annotations"]:
            if one["category_id"] not in names or one["image_id"] not in files:
                raise ValueError(f"annotation {one.get('id')} is of no image or category there is")
            counts[one["image_id"]][one["category_id"]] += 1
            if one.get("iscrowd"):
                crowds[one["image_id"]].add(one["category_id"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: is it COCO's instances? {error!r} is missing or wrong"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    images = {key: _inside(source.folder, name, path) for key, name in files.items()}
    if source.captions is None:
        plural = plurals(source.nouns_csv)
        return [
            _from_classes(Row(f"image {key}", files[key], images[key]), counts[key], crowds[key],
                          names, plural)
            for key in files
        ]  # fmt: skip
    nouns = Nouns(source.nouns_csv, names)
    rows = []
    for one in _members(source.captions, ("annotations",), "COCO's captions")["annotations"]:
        try:
            key, caption = one["image_id"], _text(one["caption"], "caption")
        except (KeyError, TypeError) as error:
            raise ValueError(f"{source.captions}: is it COCO's captions? {error!r}") from error
        if key not in files:
            raise ValueError(
                f"{source.captions}: image {key} is not among those of {path}: name the captions of"
                " the same images"
            )
        row = Row(f"caption {one.get('id', len(rows))}", files[key], images[key],
                  " ".join(caption.split()))  # fmt: skip
        rows.append(_from_caption(row, counts[key], crowds[key], names, nouns))
    return rows


def _from_caption(
    row: Row, counts: Counter[int], crowds: set[int], names: dict[int, str], nouns: Nouns
) -> Row:
    """A row with a caption: the number is that of the class that its number word counts."""
    reasons = []
    for word in number_words.find(row.caption):
        for number in sorted(nouns.first(row.caption, word.end)):
            if number in crowds:
                reasons.append("crowd")
            elif counts[number] == word.number:
                return replace(row, noun=names[number], number=word.number)
            else:
                reasons.append("another_number")
        reasons.append("not_named")
    return replace(row, dropped=reasons[0]) if reasons else row


def _from_classes(
    row: Row,
    counts: Counter[int],
    crowds: set[int],
    names: dict[int, str],
    plural: dict[str, str],
) -> Row:
    """A row whose caption is made from its annotations."""
    sure = {number: count for number, count in counts.items() if number not in crowds}
    fit = [number for number, count in sure.items() if count in NUMBERS]
    if fit:
        number = min(fit, key=lambda number: (-sure[number], number))
        name = names[number]
        noun = plural.get(name, name)
        return replace(row, noun=noun, class_name=name, number=sure[number])
    if crowds:
        return replace(row, dropped="crowd")
    named = ", ".join(names[number] for number in sorted(counts))
    is_single = named and set(counts.values()) == {1}
    return replace(row, caption=named) if is_single else replace(row, dropped="number")


def _members(path: Path, keys: tuple[str, ...], what: str) -> dict[str, list[Any]]:
    """A JSON object whose members `keys` are lists; ValueError for another file."""
    found = read_json(path)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in keys):
        raise ValueError(f"{path}: must be {what}, a JSON object with the lists {', '.join(keys)}")
    return found


def _inside(folder: ImageFolder, name: str, path: Path) -> Path:
    try:
        return inside(folder, name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{place}: {value!r} is no text")
    return value


def _count(value: Any, place: str) -> int:
    if type(value) is not int:
        raise ValueError(f"{place}: {value!r} is no number of things")
    return value


SOURCES: dict[str, Callable[[Source], list[Row]]] = {
    "folder": folder_csv,
    "pixmo_count": pixmo_count,
    "tallyqa": tallyqa,
    "coco": coco,
}


# ---- candidates ----


def labelled(row: Row, several: str, template: str) -> tuple[str, NumberWord | None]:
    """The caption of a row and its number word; None for a non-counting row.

    several: of a caption's number words, where nobody counted (`number_words.label`). template:
        makes a caption from a noun (`captions.from_noun`).
    Dropped for a row that is no pair.
    """
    if row.dropped:
        raise Dropped(row.dropped)
    words = number_words.find(row.caption)
    if row.number is None:
        word = number_words.label(row.caption, several)
        if words and word is None:
            raise Dropped("several_numbers")
        return row.caption or row.noun, word
    if row.number in NUMBERS:
        named = next((word for word in words if word.number == row.number), None)
        if named is not None:
            return row.caption, named
        if not row.noun:
            raise Dropped("caption")
        caption = from_noun(template, row.noun, row.number)
        return caption, number_words.word_for(caption, row.number)
    if words:
        raise Dropped("another_number")
    if not row.caption:
        raise Dropped("number")
    return row.caption, None


def read_counted_images(
    *,
    source: str,
    path: str | Path,
    images: str | Path,
    captions: str | Path | None,
    nouns_csv: str | None,
    caption: str,
    several: str,
    expected: str | None,
    follow_links: bool,
    max_bytes: int,
    max_pixels: int,
    threads: int,
    candidates: str | Path,
    counts: str | Path,
    manifest: str | Path,
) -> None:
    """Write the candidates of a source, a JSON that counts its rows, and its images' manifest.

    source: a key of SOURCES; path, captions, nouns_csv: as in `Source`. images: folder of images.
    caption: the template of `labelled`. expected: sha256 of `path`, or None.
    max_bytes, max_pixels: of an image (`local_images.check`).
    Raises ValueError if a file is not as `source` says, or no image is there.
    """
    if expected and sha256(path) != expected:
        raise ValueError(f"{path}: its sha256 is {sha256(path)}, not {expected}: get it anew")
    if not Path(images).is_dir():
        raise ValueError(f"{images}: no such folder; name the folder of images as `images`")
    place = ImageFolder(Path(images), follow_links)
    rows = SOURCES[source](
        Source(Path(path), place, None if captions is None else Path(captions), nouns_csv)
    )
    reasons: Counter[str] = Counter()
    table, pairs = [], []
    for row, text, word in _labelled_rows(rows, several, caption, reasons):
        reasons["counting" if word else "non_counting"] += 1
        pairs.append(row)
        table.append(_candidate(row, text, word))
    checked = check_all(
        (row.image for row in pairs), threads=threads, max_bytes=max_bytes, max_pixels=max_pixels
    )
    if not any(facts["status"] == "ok" for facts in checked.values()):
        statuses = Counter(facts["status"] for facts in checked.values())
        pairs_too = ("counting", "non_counting")
        why = {key: n for key, n in (reasons + statuses).items() if key not in pairs_too}
        first = next((f"; the first image is {row.name!r}" for row in pairs), "")
        raise ValueError(
            f"{path}: no image of {len(rows)} rows can be used ({why}){first}. Images are read"
            f" below {images}: name another folder as `images`, or correct the names"
        )
    write_table(pa.Table.from_pylist(table, schema=CANDIDATES), candidates)
    facts = zip(pairs, table, strict=True)
    write_manifest(
        [
            {"sample_id": line["sample_id"], "url": line["url"]} | checked[row.image]
            for row, line in facts
        ],
        manifest,
    )
    numbers = number_words.per_class(line["number"] for line in table)
    write_json({"rows": len(rows), "reasons": reasons, "counting_by_number": numbers}, counts)


def _labelled_rows(
    rows: list[Row], several: str, template: str, reasons: Counter[str]
) -> Iterator[tuple[Row, str, NumberWord | None]]:
    """The rows that are pairs, with caption and number word; `reasons` counts the others."""
    for row in rows:
        try:
            text, word = labelled(row, several, template)
        except Dropped as error:
            reasons[str(error)] += 1
            if reasons[str(error)] == 1:
                log.info("no pair, first of them %s: %s", row.place, DROPPED[str(error)])
        else:
            yield row, text, word


def _candidate(row: Row, caption: str, word: NumberWord | None) -> dict[str, Any]:
    """A line of CANDIDATES."""
    number, start, end = word or (None, None, None)
    words = number_words.find(caption) if word else []
    return {
        "sample_id": row.place,
        "url": row.name,
        "caption": caption,
        "number": number,
        "number_start": start,
        "number_end": end,
        "words": [one._asdict() for one in words],
        "noun": row.class_name or row.noun or None,
    }
