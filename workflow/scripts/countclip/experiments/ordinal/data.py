"""Labelled images: one CSV, checked, becomes the folds of an experiment and an array of images.

The CSV has the columns path and label, and may have fold, split and group:

- fold alone: the fold in which an image is tested. In all others it is trained on.
- split alone (train, validation or test): one published fold.
- both: a line for each image of each fold.
- neither: folds are drawn with a seed (`Draw`).
- group: whose images are not independent, such as a person.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.folds import PARTS
from countclip.runtime.csv_files import Columns, raise_problems, read_rows
from countclip.runtime.files import publish, sha256, write_json, write_table
from countclip.runtime.folders import ImageFolder, inside

log = logging.getLogger(__name__)

COLUMNS = Columns(("path", "label"), files=("path",))
SHOWN = 5
"""Examples in a message."""
FEW_SHARED = 0.05
"""Share of test images of shared groups below which a fold counts as made by group: published lists
by person have a few slips."""


class Row(NamedTuple):
    """A line of the CSV; fold, split and group are '' where it has no such column.

    path: as the CSV names it. file: where that is.
    """

    path: str
    file: Path
    label: float
    fold: str
    split: str
    group: str
    line: int


class Draw(NamedTuple):
    """How folds are made.

    by: `published` takes those of the CSV, `count` of them; `image` and `group` draw as many,
        the latter with all images of a group in one part.
    validation: share of a fold's training images that choose its checkpoint; none is drawn where
        the CSV has such a part.
    """

    by: str = "image"
    count: int = 5
    validation: float = 0.1
    seed: int = 0


# ---- reading ----


def read(csv: str | Path, folder: ImageFolder, values: Sequence[float]) -> list[Row]:
    """The lines of the CSV, checked; ValueError lists every wrong line or missing image.

    folder: of the paths. values: lowest and highest label.
    """
    rows = read_rows(csv, COLUMNS, lambda fields, line: _row(fields, line, folder, values))
    if not rows:
        raise ValueError(f"{csv}: has a header but no line: write one for each image")
    missing = [row for row in rows if not row.file.exists()]
    if missing:
        raise ValueError(
            f"{folder.path}: {len(missing):,} of {len(rows):,} images of {csv} are missing:"
            f" {examples(row.path for row in missing)}; unpack the data set there, name its folder,"
            " or correct the column path"
        )
    raise_problems(csv, _contradictions(rows))
    return rows


def _row(fields: dict[str, str], line: int, folder: ImageFolder, values: Sequence[float]) -> Row:
    label, (lowest, highest) = fields["label"], values
    if not re.fullmatch(r"[-+]?\d{1,9}(\.\d{1,9})?", label, re.ASCII):
        raise ValueError(f"label {label!r} must be a number, such as 31 or 4.5")
    if not lowest <= float(label) <= highest:
        raise ValueError(
            f"label {label} is outside {lowest} to {highest}: correct it, leave the line out, or"
            " widen the task's `values`"
        )
    for name in ("fold", "split", "group"):
        if fields.get(name) == "":
            raise ValueError(f"{name} is empty: fill it in, or leave the column out")
    if (split := fields.get("split", "")) not in ("", *PARTS):
        raise ValueError(f"split {split!r} must be one of {', '.join(PARTS)}")
    return Row(
        path=fields["path"],
        file=inside(folder, fields["path"]),
        label=float(label),
        fold=fields.get("fold", ""),
        split=split,
        group=fields.get("group", ""),
        line=line,
    )


def _contradictions(rows: list[Row]) -> list[str]:
    """Lines of one image that do not agree, as messages."""
    problems, of_file, in_fold = [], {}, {}
    for row in rows:
        first = of_file.setdefault(row.file, row)
        if (row.label, row.group) != (first.label, first.group):
            problems.append(
                f"line {row.line}: {row.path} has label {row.label:g} and group {row.group!r}, but"
                f" {first.label:g} and {first.group!r} in line {first.line}: correct one"
            )
        fold = row.fold if row.split else ""
        if (again := in_fold.setdefault((row.file, fold), row)) is not row:
            problems.append(
                f"line {row.line}: {row.path} is in line {again.line} already: delete one"
                + (f", or name another fold than {fold!r}" if fold else "")
            )
    return problems


# ---- folds ----


def make_folds(
    csv: str | Path,
    folder: ImageFolder,
    *,
    values: Sequence[float],
    bins: Bins,
    draw: Draw,
    images_parquet: str | Path,
    fold_folder: str | Path,
    summary_json: str | Path,
) -> dict[str, Any]:
    """Publish the images, a table for each fold, and a summary, which is returned.

    images_parquet: index and path; the index is the row in the array of `images.pack`.
    fold_folder: gets 1.parquet, 2.parquet and so on: index, path, label, bin, group, part.
    summary_json: what each fold is called and holds, and what is to be warned of. It has the digest
        of each table, so it stands for them where a folder's time means nothing.
    """
    rows = read(csv, folder, values)
    images = images_of(rows)
    images["bin"] = bins.of(images["label"])
    folds = folds_of(csv, rows, images, draw)
    if len(folds) != draw.count:
        raise ValueError(
            f"{csv}: has {len(folds)} folds, {examples(folds)}, and `count` is {draw.count}: set it"
            f" to {len(folds)}"
        )
    summaries = {}
    with publish(fold_folder) as temporary:
        for number, (name, parts) in enumerate(folds.items(), 1):
            table = images.assign(part=parts)[["index", "path", "label", "bin", "group", "part"]]
            table = table[table["part"] != ""].reset_index(drop=True)
            table = _with_validation(table, draw, number)
            checked, file = _checked(csv, name, table, bins), temporary / f"{number}.parquet"
            write_table(_typed(table), file)
            summaries[str(number)] = {"name": name, **checked, "sha256": sha256(file)}
    drawn = f"drawn by {draw.by}, seed {draw.seed}"
    summary = {
        "source": {"csv": str(csv), "sha256": sha256(csv)},
        "folds_are": "published" if draw.by == "published" else drawn,
        "images": len(images),
        "groups": int(images["group"].nunique()),
        "values": list(values),
        "folds": summaries,
    }
    write_table(images[["index", "path"]], images_parquet)
    write_json(summary, summary_json)
    return summary


def images_of(rows: list[Row]) -> pd.DataFrame:
    """Index, path, label and group (None without) of each image, in the order of its first line."""
    first: dict[Path, Row] = {}
    for row in rows:
        first.setdefault(row.file, row)
    table = pd.DataFrame(
        [(row.path, row.label, row.group or None) for row in first.values()],
        columns=["path", "label", "group"],
    )
    return table.assign(index=range(len(table)))


def folds_of(
    csv: str | Path, rows: list[Row], images: pd.DataFrame, draw: Draw
) -> dict[str, np.ndarray]:
    """Name of each fold -> part of each of the `images` in it, '' for none."""
    return _published(csv, rows) if draw.by == "published" else _drawn(csv, images, draw)


def _published(csv: str | Path, rows: list[Row]) -> dict[str, np.ndarray]:
    has_fold, has_split = bool(rows[0].fold), bool(rows[0].split)
    if not (has_fold or has_split):
        raise ValueError(
            f"{csv}: has neither a column fold nor a column split, so nobody published its folds:"
            " add one, or set `by` to image or group to draw them"
        )
    names = sorted({row.fold for row in rows}, key=_natural)
    if has_split:
        of_fold = {name: {r.file: r.split for r in rows if r.fold == name} for name in names}
        files = {row.file: None for row in rows}
        return {
            name or "published": np.array([split.get(file, "") for file in files], object)
            for name, split in of_fold.items()
        }
    if len(names) < 2:
        raise ValueError(
            f"{csv}: all images are of fold {names[0]!r}, so none is left to train on: the column"
            " fold says in which of several folds an image is tested"
        )
    tested = np.array([row.fold for row in rows], object)
    return {name: np.where(tested == name, "test", "train").astype(object) for name in names}


def _natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts fold 10 behind fold 9."""
    return [(text, int(n or 0)) for text, n in re.findall(r"(\D*)(\d{0,9})", name)]


def _drawn(csv: str | Path, images: pd.DataFrame, draw: Draw) -> dict[str, np.ndarray]:
    """Folds in one of which each image is tested."""
    units = _units(csv, images, draw.by)
    if not 2 <= draw.count <= units.nunique():
        raise ValueError(
            f"{csv}: {units.nunique()} {draw.by}s cannot make {draw.count} folds: set `count` to at"
            " least 2, and at most as many"
        )
    rng = np.random.default_rng([draw.seed, 0])
    n_images, fold_of, sizes = units.value_counts(), {}, np.zeros(draw.count, int)
    for unit in rng.permutation(units.unique()):
        fold_of[unit] = smallest = sizes.argmin()
        sizes[smallest] += n_images[unit]
    tested = units.map(fold_of).to_numpy()
    return {
        f"{draw.by} seed {draw.seed} fold {n + 1}":
            np.where(tested == n, "test", "train").astype(object)
        for n in range(draw.count)
    }  # fmt: skip


def _units(csv: str | Path, images: pd.DataFrame, by: str) -> pd.Series:
    """What is drawn: images or groups."""
    if by == "image":
        return images["index"]
    if by != "group":
        raise ValueError(f"folds by {by!r}: `by` must be published, image or group")
    if images["group"].isna().any():
        raise ValueError(
            f"{csv}: has no column group, so folds cannot be drawn by group: add one, such as whom"
            " an image shows, or set `by` to image"
        )
    return images["group"]


def _with_validation(table: pd.DataFrame, draw: Draw, number: int) -> pd.DataFrame:
    """A fold with a validation part, drawn from its training images where it has none.

    It is as far from training as the test part is: whole groups, where fewer than `FEW_SHARED` of
    the test images are of a group that is also in training.
    """
    if (table["part"] == "validation").any() or not draw.validation:
        return table
    train = table[table["part"] == "train"]
    is_grouped = train["group"].notna().all() and train["group"].nunique() > 1
    by_group = is_grouped and shared_groups(table)["share"] < FEW_SHARED
    units = train["group"] if by_group else train["index"]
    rng = np.random.default_rng([draw.seed, 1, number])
    sizes = units.value_counts()[rng.permutation(units.unique())]
    before = sizes.cumsum() - sizes
    chosen = sizes.index[before < draw.validation * len(train)]
    return table.assign(
        part=table["part"].mask(table.index.isin(train.index[units.isin(chosen)]), "validation")
    )


def shared_groups(table: pd.DataFrame) -> dict[str, Any]:
    """Groups in both the training and the test part: how many, and how many test images of them."""
    grouped = table[table["group"].notna()]
    test = grouped[grouped["part"] == "test"]
    is_shared = test["group"].isin(grouped["group"][grouped["part"] != "test"])
    return {
        "groups": int(test["group"][is_shared].nunique()),
        "test_images": int(is_shared.sum()),
        "share": float(is_shared.mean()) if len(test) else 0.0,
    }


def _checked(csv: str | Path, name: str, table: pd.DataFrame, bins: Bins) -> dict[str, Any]:
    """What a fold holds; ValueError for one without a part, a warning for what a reader must know.

    A group in training and test makes the error too low. A bin without a training image is never
    right by more than chance.
    """
    counts = {part: int((table["part"] == part).sum()) for part in PARTS}
    for part in ("train", "test"):
        if not counts[part]:
            raise ValueError(
                f"{csv}: fold {name!r} has no {part} image: give it some, or leave the fold out"
            )
    if not counts["validation"]:
        log.warning("%s: fold %r has no validation image: `validation` is 0", csv, name)
    train = np.bincount(table["bin"][table["part"] == "train"], minlength=len(bins))
    if (train > 0).sum() < 2:
        raise ValueError(
            f"{csv}: all training images of fold {name!r} are of the bin"
            f" {bins.words[train.argmax()]!r}, so there is no order to learn: change the bins or"
            " the folds"
        )
    empty = [word for word, n in zip(bins.words, train, strict=True) if not n]
    if empty:
        log.warning("%s: fold %r has no training image of the bin %s", csv, name, examples(empty))
    shared = shared_groups(table)
    if shared["groups"]:
        log.warning(
            "%s: fold %r: %d of %d test images (%.0f %%) are of a group that is also in training:"
            " its error is too low for others; draw folds by group beside it",
            csv, name, shared["test_images"], counts["test"], 100 * shared["share"],
        )  # fmt: skip
    return {
        "images": counts,
        "train_per_bin": dict(zip(bins.words, train.tolist(), strict=True)),
        "bins_without_training_image": empty,
        "shared_with_training": shared,
    }


def _typed(table: pd.DataFrame) -> Any:
    import pyarrow as pa

    schema = pa.schema(
        {
            "index": pa.int32(),
            "path": pa.string(),
            "label": pa.float64(),
            "bin": pa.int16(),
            "group": pa.string(),
            "part": pa.string(),
        }
    )
    return pa.Table.from_pandas(table, schema, preserve_index=False).replace_schema_metadata(None)


def examples(names: Iterable[str]) -> str:
    """The first names, for a message, and whether there are more."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", ..." if names[SHOWN:] else "")
