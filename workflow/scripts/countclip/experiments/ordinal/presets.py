"""Presets: published data sets, as their publishers and users have them, to the CSV of data.py.

    python -m countclip.experiments.ordinal.presets NAME FOLDER --output ordinal.csv

FOLDER holds the images, LISTS (by default the same) the lists of labels and folds. Paths in the CSV
are below FOLDER. The CSV is checked as it will be read; nothing is written where that fails.
"""

import argparse
import csv
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from countclip.experiments.ordinal import data
from countclip.experiments.ordinal.data import examples
from countclip.runtime.csv_files import Columns, raise_problems, read_lines, read_rows
from countclip.runtime.files import publish, read_text
from countclip.runtime.folders import ImageFolder, contents

log = logging.getLogger(__name__)

Fields = dict[str, str]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


# ---- files and lists ----


class Images:
    """The images below a folder, found by the end of their path, whatever its letters' case."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder: unpack the images, and name their folder")
        listed = contents(folder)
        listed.log_passed(folder)
        self.folder = folder
        self.paths = [file.relative_to(folder).as_posix() for file in listed.files]
        self._of_name: dict[str, list[str]] = {}
        for path in self.paths:
            self._of_name.setdefault(Path(path).name.lower(), []).append(path)
        self._missing: list[str] = []
        self._found = 0

    def find(self, name: str) -> str | None:
        """Path below the folder of the image that a list names; None counts it as missing.

        Folders in the name only tell two files of one name apart.
        """
        parts = [part.lower() for part in name.replace("\\", "/").split("/")]
        paths = self._of_name.get(parts[-1], [])
        agreeing = [[*map(str.lower, Path(path).parts)][::-1] for path in paths]
        ends = [_in_common(parts[::-1], other) for other in agreeing]
        best = [path for path, n in zip(paths, ends, strict=True) if n == max(ends)]
        if len(best) > 1:
            raise ValueError(f"{name} may be {examples(best)}: move all but one away")
        if not best:
            self._missing.append(name)
            return None
        self._found += 1
        return best[0]

    def check(self, lists: Path) -> None:
        """Raise ValueError if any of the images that were looked for is missing."""
        if self._missing:
            n = len(self._missing)
            raise ValueError(
                f"{self.folder}: {n:,} of {n + self._found:,} images that {lists} lists are"
                f" missing: {examples(self._missing)}; unpack all there, or name their folder"
            )


def _in_common(first: list[str], second: list[str]) -> int:
    n = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        n += 1
    return n


def _list_files(lists: Path, pattern: str, expected: str) -> list[Path]:
    """The files of a folder, or the one file, whose name matches `pattern`; ValueError if none."""
    files = contents(lists).files if lists.is_dir() else [lists]
    found = [file for file in files if re.search(pattern, file.name, re.IGNORECASE)]
    if not (found and found[0].is_file()):
        raise ValueError(
            f"{lists}: holds no list such as {expected}: name the folder of the lists by --lists"
        )
    return found


def _split_in_name(name: str) -> str:
    """The part that a list's name tells, or ''."""
    words = {"train": "train", "val": "validation", "valid": "validation", "test": "test"}
    found = re.findall(r"(?<![a-z])(train|val|valid|test)(?![a-z])", name.lower())
    return words[found[-1]] if found else ""


def _number_in_name(name: str) -> str:
    """The last number in a list's name, without leading zeros, or ''."""
    found = re.findall(r"\d+", Path(name).stem)
    return str(int(found[-1])) if found else ""


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line: separated by commas where it has any, else by blanks."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            fields = line.split(",") if "," in line else line.split()
            yield number, [field.strip() for field in fields]


# ---- MORPH II ----

_MORPH_NAME = re.compile(r"(?P<person>\d+)_\w*?[MF](?P<age>\d+)\.\w+", re.IGNORECASE)


def _morph(images: Images, lists: Path) -> list[tuple[Path, Fields]]:
    """Each line of MORPH's lists, in either dialect.

    Blanks or commas separate fields. The first line names the columns, of which filename and age
    matter and which may follow a column of row numbers; or it is a line as all: path, then age.
    """
    lines, problems = [], []
    for file in _list_files(lists, r"\.(txt|csv)$", "morph_C_00.txt"):
        columns = (0, 1)
        for number, fields in _records(file):
            lowered = [field.lower() for field in fields]
            if "filename" in lowered and "age" in lowered:
                columns = lowered.index("filename"), lowered.index("age")
                continue
            place = f"{file.name}: line {number}"
            try:
                name, age = (fields[column] for column in columns)
                matched = _MORPH_NAME.fullmatch(Path(name).name)
                if not (matched and age.isdecimal()):
                    raise ValueError("must have a file such as 101157_5F39.JPG and an age")
                if int(age) != int(matched["age"]):
                    raise ValueError(
                        f"age {age}, but the name {name} says {int(matched['age'])}: is it a list"
                        " of other labels? correct the age"
                    )
                if path := images.find(name):
                    lines.append((file, {"path": path, "label": age, "group": matched["person"]}))
            except IndexError:
                problems.append(f"{place}: has {len(fields)} fields; filename and age are needed")
            except ValueError as error:
                problems.append(f"{place}: {error}")
    raise_problems(lists, problems)
    images.check(lists)
    return lines


def morph_splits(images: Images, lists: Path) -> list[Fields]:
    """MORPH setting A: a training and a test list for each fold, told by name and number.

    Without a test list the validation list is the test part, as OrdinalCLIP has it. Lists that tell
    no part are folds: see `morph_folds`.
    """
    lines = _morph(images, lists)
    parts = {_split_in_name(file.name) for file, _ in lines}
    if parts <= {""}:
        return _as_folds(lines, lists)
    if "" in parts:
        raise ValueError(
            f"{lists}: some lists tell train or test by their name, and others do not: rename or"
            " move those"
        )
    part_of = {part: part for part in parts} | ({} if "test" in parts else {"validation": "test"})
    return [
        {
            **fields,
            "fold": _number_in_name(file.name) or "0",
            "split": part_of[_split_in_name(file.name)],
        }
        for file, fields in lines
    ]


def morph_folds(images: Images, lists: Path) -> list[Fields]:
    """MORPH settings C (random) and D (nearly by person): a list for each fold."""
    return _as_folds(_morph(images, lists), lists)


def _as_folds(lines: list[tuple[Path, Fields]], lists: Path) -> list[Fields]:
    if len({file for file, _ in lines}) < 2:
        raise ValueError(f"{lists}: holds one list, and needs one for each of several folds")
    return [{**fields, "fold": _number_in_name(file.name)} for file, fields in lines]


def morph_sets(images: Images, lists: Path) -> list[Fields]:
    """MORPH setting B: three sets. Fold 1 trains on the first, fold 2 on the second set alone."""
    lines = _morph(images, lists)
    sets = sorted({file for file, _ in lines})
    if len(sets) != 3:
        raise ValueError(f"{lists}: holds {len(sets)} lists, and setting B has three sets")
    return [
        {**fields, "fold": str(n + 1), "split": "train" if file == train else "test"}
        for n, train in enumerate(sets[:2])
        for file, fields in lines
    ]


# ---- the others ----


def hci(images: Images, _: Path) -> list[Fields]:
    """Historical colour images: folders 1930s to 1970s, label 0 to 4.

    Nobody published folds. As usual, ten are drawn with a seed: of each decade 50 images to test, 5
    to validate, the rest to train.
    """
    import numpy as np

    decades = [f"{year}s" for year in range(1930, 1980, 10)]
    of_decade = {decade: [path for path in images.paths if decade in Path(path).parts[:-1]
                          and path.lower().endswith(IMAGE_SUFFIXES)]
                 for decade in decades}  # fmt: skip
    n_test, n_validation, seed = 50, 5, 0
    for decade, paths in of_decade.items():
        if len(paths) <= n_test + n_validation:
            raise ValueError(
                f"{images.folder}: a folder {decade} must hold more than {n_test + n_validation}"
                f" images, and {len(paths)} are there: unpack decade_database into it"
            )
    rows = []
    for draw in range(10):
        rng = np.random.default_rng([seed, draw])
        for label, paths in enumerate(of_decade.values()):
            for n, path in enumerate(rng.permutation(sorted(paths)).tolist()):
                split = "test" if n < n_test else "train"
                split = "validation" if n_test <= n < n_test + n_validation else split
                fold = f"draw {draw} of seed {seed}"
                rows.append({"path": path, "label": str(label), "fold": fold, "split": split})
    return rows


def aesthetics(images: Images, lists: Path) -> list[Fields]:
    """Flickr beauty: `<category>_train.txt` and `<category>_test.txt` of file and score 1 to 5.

    A category is a fold.
    """
    rows, problems = [], []
    for file in _list_files(lists, r"^[a-z]+_(train|test)\.txt$", "animals_train.txt"):
        category, split = file.stem.lower().rsplit("_", 1)
        for number, fields in _records(file):
            if len(fields) != 2:
                problems.append(f"{file.name}: line {number}: must be a file and a score")
            elif path := images.find(f"{category}/{fields[0]}"):
                rows.append({"path": path, "label": fields[1], "fold": category, "split": split})
    raise_problems(lists, problems)
    return rows


ADIENCE_AGES = ("0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60-100")
"""Adience's eight groups, labels 0 to 7. There are gaps between them."""


def adience(images: Images, lists: Path) -> list[Fields]:
    """Adience: five folds by person, as fold_k_data.txt or as L2RCLIP's simplified lists.

    Faces whose age is no group, nor a year in one, are left out and counted.
    """
    rows, problems, left_out = [], [], Counter()
    pattern = r"^(fold_\d+_data|simplified_adience_\d+)\.txt$"
    for file in _list_files(lists, pattern, "fold_0_data.txt"):
        fold = re.findall(r"\d+", file.name)[0]
        for place, name, age in _adience_lines(file, problems):
            label = age if file.name.lower().startswith("simpl") else _adience_label(age)
            if not re.fullmatch("[0-7]", label):
                left_out[age] += 1
            elif "/" not in name:
                problems.append(f"{place}: {name!r} must be user/face")
            elif path := images.find(name):
                rows.append(
                    {"path": path, "label": label, "fold": fold, "group": name.split("/")[0]}
                )
    raise_problems(lists, problems)
    if left_out:
        ages = examples(f"{age or 'empty'}: {n}" for age, n in left_out.most_common())
        log.warning("%s: %d faces left out, whose age is none of the eight groups: %s",
                    lists, left_out.total(), ages)  # fmt: skip
    return rows


def _adience_lines(file: Path, problems: list[str]) -> Iterator[tuple[str, str, str]]:
    """Place, face (user/file) and age of each line of either form."""
    if file.name.lower().startswith("simpl"):
        for number, fields in _records(file):
            name, age = fields if len(fields) == 2 else (" ".join(fields), "")
            yield f"{file.name}: line {number}", name, age
        return
    columns = Columns(("user_id", "original_image", "face_id", "age"), separator="\t")
    for number, fields in read_lines(file, columns, problems):
        face = f"landmark_aligned_face.{fields['face_id']}.{fields['original_image']}"
        yield f"{file.name}: line {number}", f"{fields['user_id']}/{face}", fields["age"]


def _adience_label(age: str) -> str:
    """Label of "(25, 32)", or of "28", which is in that group; '' of any other."""
    years = [int(year) for year in re.findall(r"\d+", age)]
    for label, group in enumerate(ADIENCE_AGES):
        low, high = map(int, group.split("-"))
        if years == [low, high] or (len(years) == 1 and low <= years[0] <= high):
            return str(label)
    return ""


def utkface(images: Images, _: Path) -> list[Fields]:
    """UTKFace: names of age_sex_race_time.jpg, of which some lack the race or the suffix.

    Other files are left out and counted. It has no folds.
    """
    rows, others = [], []
    for path in images.paths:
        matched = re.match(r"(\d{1,3})_[01]_\d+", Path(path).name)
        if matched:
            rows.append({"path": path, "label": str(int(matched[1]))})
        else:
            others.append(path)
    if others:
        log.warning("%s: %d files left out, named otherwise than age_sex_race_time: %s",
                    images.folder, len(others), examples(others))  # fmt: skip
    return rows


def clap2015(images: Images, lists: Path) -> list[Fields]:
    """CLAP2015: a CSV of filename, age, stdv and database (train, val or test).

    stdv, how much people's guesses of the age spread, is a further column.
    """
    (file, *_) = _list_files(lists, r"\.csv$", "total_2015.csv")
    columns = Columns(("filename", "age", "stdv", "database"), files=("filename",))

    def row(fields: Fields, _: int) -> Fields:
        if not (split := _split_in_name(fields["database"])):
            raise ValueError(f"database {fields['database']!r} must be train, val or test")
        path = images.find(fields["filename"])
        return {"path": path or "", "label": fields["age"], "stdv": fields["stdv"], "split": split}

    return [row for row in read_rows(file, columns, row) if row["path"]]


def fingers(images: Images, _: Path) -> list[Fields]:
    """Finger counting (EPSRC-NUMBERS): Raw_Images/Human/Set1/3/three_102.jpg shows three fingers.

    A session is a fold, so each is tested after training on the other. Empty backgrounds are left
    out.
    """
    rows, empty = [], 0
    for path in images.paths:
        matched = re.search(r"(?:^|/)Human/(Set\d+)/([0-5])/[^/]+$", path)
        if matched and matched[2] == "0":
            empty += 1
        elif matched and path.lower().endswith(IMAGE_SUFFIXES):
            rows.append({"path": path, "label": matched[2], "fold": matched[1]})
    log.info("%s: %d empty backgrounds left out", images.folder, empty)
    return rows


def folder(images: Images, lists: Path) -> list[Fields]:
    """Any folder with a CSV of path and label, and perhaps fold, split and group."""
    (file, *others) = _list_files(lists, r"\.csv$", "labels.csv")
    if others:
        found = examples(str(path) for path in (file, *others))
        raise ValueError(f"{lists}: has several CSV files, {found}: name one by --lists")
    return read_rows(file, data.COLUMNS, lambda fields, _: fields)


class Preset(NamedTuple):
    """A reader of a data set, its lowest and highest label, and what an image shows."""

    read: Callable[[Images, Path], list[Fields]]
    values: tuple[float, float]
    shows: str


PRESETS = {
    "morph_a": Preset(morph_splits, (16, 77), "ages"),
    "morph_b": Preset(morph_sets, (16, 77), "ages"),
    "morph_c": Preset(morph_folds, (16, 77), "ages"),
    "morph_d": Preset(morph_folds, (16, 77), "ages"),
    "hci": Preset(hci, (0, 4), "decades"),
    "aesthetics": Preset(aesthetics, (1, 5), "quality"),
    "adience": Preset(adience, (0, 7), "age_groups"),
    "utkface": Preset(utkface, (1, 116), "ages"),
    "clap2015": Preset(clap2015, (3, 85), "ages"),
    "fingers": Preset(fingers, (1, 5), "fingers"),
    "folder": Preset(folder, (-1e9, 1e9), "anything"),
}


# ---- the command ----


def write(name: str, images: Path, output: Path, lists: Path | None = None) -> list[data.Row]:
    """Write the CSV of a data set and return its lines, as they are read again and checked."""
    preset, found = PRESETS[name], Images(images)
    lists = images if lists is None else lists
    fields = preset.read(found, lists)
    found.check(lists)
    if not fields:
        doc = preset.read.__doc__.split("\n")[0]
        raise ValueError(f"{images}: holds no image as {name} has them: {doc}")
    columns = list(fields[0])
    with publish(output) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            lines = ([row[column] for column in columns] for row in fields)
            csv.writer(file, lineterminator="\n").writerows([columns, *lines])
        try:
            rows = data.read(temporary, ImageFolder(images, follow_links=True), preset.values)
        except ValueError as error:
            raise ValueError(str(error).replace(str(temporary), str(output))) from error
    return rows


def describe(csv: Path, rows: list[data.Row]) -> Iterator[str]:
    """What a CSV holds, in a few lines: images, labels, groups, folds, and groups in two parts."""
    images = data.images_of(rows)
    groups = images["group"].nunique()
    yield f"{len(images):,} images, labels {images['label'].min():g} to {images['label'].max():g}"
    yield f"{groups:,} groups" if groups else "no groups: folds can be drawn by image alone"
    if not (rows[0].fold or rows[0].split):
        yield "no folds: they are drawn with a seed"
        return
    for name, parts in data.folds_of(csv, rows, images, data.Draw("published")).items():
        counts = Counter(parts)
        numbers = ", ".join(f"{counts[part]:,} {part}" for part in data.PARTS if counts[part])
        shared = data.shared_groups(images.assign(part=parts)[parts != ""])
        leaked = (
            f"; {shared['test_images']:,} of these ({100 * shared['share']:.0f} %) are of a group"
            " that is also in training: draw folds by group beside it"
        )
        yield f"fold {name}: {numbers}{leaked if shared['groups'] else ''}"


def _links_lead_out(folder: Path, rows: list[data.Row]) -> bool:
    """Whether an image is a link to a file outside its folder, which a run refuses by default."""
    place = folder.resolve()
    return not all(row.file.resolve().is_relative_to(place) for row in rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="presets", description="Write the CSV of a data set for ordinal regression."
    )
    parser.add_argument("name", choices=PRESETS, metavar="NAME", help=", ".join(PRESETS))
    parser.add_argument("images", type=Path, metavar="FOLDER", help="of the images")
    parser.add_argument("--lists", type=Path, help="folder of the lists, or one; default: FOLDER")
    parser.add_argument("--output", type=Path, required=True, help="the CSV to write")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    try:
        rows = write(chosen.name, chosen.images, chosen.output, chosen.lists)
    except (ValueError, OSError) as error:
        print(f"presets: {error}", file=sys.stderr)
        return 1
    for line in describe(chosen.output, rows):
        print(line)
    entries = [f"images: {chosen.images}", f"shows: {PRESETS[chosen.name].shows}"]
    if _links_lead_out(chosen.images, rows):
        entries.append("follow_links: true")
    print(f"{chosen.output}: written. In the config: {', '.join(entries)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
