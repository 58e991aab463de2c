"""Command that counts in a user's images with a trained model, and writes a CSV.

    make predict ARGS='--model results/training/log_sched/seed1/selected.safetensors \
        --images folder photo.jpg --caption "a photo of {} dogs"'

One line for every image: `count`, the number of the most similar of nine captions; `probability`,
what CLIP gives it among the nine; `tie`, whether another caption is as similar (`count` is then the
lowest); the nine cosines; and, where an image could not be read, `problem` in place of these.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from scipy.special import softmax

from countclip.data import captions
from countclip.data.images import Unusable, decode
from countclip.data.number_words import WORDS
from countclip.evaluation import counting
from countclip.model import embeddings
from countclip.model.clip import Clip
from countclip.model.inputs import nine_captions, resize, tokens_of
from countclip.model.libraries import Fabric
from countclip.runtime import csv_files
from countclip.runtime.files import progress, write_text
from countclip.runtime.machine import OF_ALL_FILES, raise_machine_error

MAX_BYTES = 100_000_000
"""Largest image file that is read; its pixels are bounded by `images.MAX_PIXELS`."""
AT_ONCE = 512  # images in memory, at the model's size
SIMILARITIES = [f"similarity_{word}" for word in WORDS.values()]
COLUMNS = ["image", "caption", "count", "probability", "tie", *SIMILARITIES, "problem"]


class Pair(NamedTuple):
    """An image file with its caption; `filled` is the caption with the word of `number` once."""

    image: Path
    caption: str
    filled: str
    number: int


def load(weights: Path) -> Clip:
    """The model of a training run's weights, as model.json beside them says."""
    if weights.suffix != ".safetensors":
        raise ValueError(f"{weights}: weights are read from a .safetensors file alone")
    if not weights.is_file():
        raise ValueError(f"{weights}: there is no such file; name the weights of a training run")
    model_json = weights.with_name("model.json")
    try:
        model = json.loads(model_json.read_text(encoding="utf-8"))["model"]
        name, config = model["name"], model["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{model_json}: it must say which model {weights.name} is of, as a training writes it"
            f" beside its weights ({type(error).__name__}: {error}); copy it from there"
        ) from error
    try:
        return Clip(name, str(weights.resolve()), config)
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{weights}: not the weights of a {name}, which {model_json} says they are: name those"
            f" of a training ({str(error).splitlines()[0][:200]})"
        ) from error


def from_files(paths: list[Path], caption: str) -> list[Pair]:
    """Each file, and each file in a folder and below it, with the same caption."""
    filled = captions.fill(caption)
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: there is no such image or folder")
        inside = path.rglob("*") if path.is_dir() else [path]
        found += sorted(file for file in inside if file.is_file())
    if not found:
        raise ValueError(f"{', '.join(map(str, paths))}: no file is in there")
    return [Pair(file, caption, *filled) for file in found]


def from_table(path: Path) -> list[Pair]:
    """The rows of a CSV with the columns image, seen from its folder, and caption."""
    pairs, problems = [], []
    lines = csv_files.read_lines(
        path,
        columns="image and caption",
        has_columns=lambda names: {"image", "caption"} <= set(names),
        problems=problems,
    )
    for number, fields in lines:
        try:
            filled = captions.fill(fields["caption"])
            pairs.append(Pair(path.parent / fields["image"], fields["caption"], *filled))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    csv_files.raise_problems(path, problems)
    if not pairs:
        raise ValueError(f"{path}: it names no image; write a row for each")
    return pairs


def read(path: Path) -> bytes:
    """The bytes of an image file; images.Unusable where it is too large or cannot be read."""
    try:
        with open(path, "rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise_machine_error(error, OF_ALL_FILES)
        raise Unusable("unreadable", error.strerror or str(error)) from error
    if len(body) > MAX_BYTES:
        raise Unusable("too_large", f"more than {MAX_BYTES} bytes")
    return body


def count(clip: Clip, pairs: list[Pair], fabric: Fabric, batch: int) -> pd.DataFrame:
    """A row with COLUMNS for each pair, in order."""
    rows, readable = [], []
    for pair in pairs:
        row = {"image": str(pair.image), "caption": pair.caption}
        try:
            image = resize(decode(read(pair.image)), clip.image_size)
            readable.append((row, image, pair))
        except Unusable as error:
            row["problem"] = str(error)
        rows.append(row)
    if readable:
        tokens = tokens_of(
            clip, [nine_captions(clip, pair.filled, pair.number) for *_, pair in readable]
        )
        images = np.stack([image for _, image, _ in readable])
        with fabric.autocast():
            similarity = embeddings.similarities(clip, images, tokens, batch=batch)
        shares = softmax(clip.model.logit_scale.exp().item() * similarity, axis=1).max(axis=1)
        found = counting.answers(similarity)
        for (row, _, _), answer, share in zip(readable, found.itertuples(), shares, strict=True):
            row |= {"count": answer.prediction, "probability": share, "tie": answer.tie}
            row |= dict(zip(SIMILARITIES, answer.similarity, strict=True))
    table = pd.DataFrame(rows, columns=COLUMNS)
    kinds = {"count": "Int64", "tie": "boolean", "problem": "string"}  # whichever of them are there
    return table.astype(kinds | dict.fromkeys(["probability", *SIMILARITIES], "float32"))


def predict(
    weights: Path, pairs: list[Pair], output: Path | None, accelerator: str, batch: int
) -> Counter:
    """Write the CSV, to standard output without `output`; return how many images had which
    problem."""
    try:
        fabric = Fabric(accelerator=accelerator, devices=1)
    except RuntimeError as error:
        raise ValueError(f"--accelerator {accelerator}: {error}") from error
    clip = load(weights)
    clip.model.to(fabric.device)
    tables = []
    with progress(total=len(pairs), unit="image", desc="count") as bar:
        for start in range(0, len(pairs), AT_ONCE):
            tables.append(count(clip, pairs[start : start + AT_ONCE], fabric, batch))
            bar.update(len(tables[-1]))
    table = pd.concat(tables, ignore_index=True)
    text = table.to_csv(index=False, lineterminator="\n")
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(text, output)
    return Counter(table["problem"].dropna())


def main() -> None:
    """Exit with 1 where no image could be read, or with a message where nothing could begin."""
    parser = argparse.ArgumentParser(
        prog="predict", description="Count in your images with a trained model."
    )
    parser.add_argument("--model", type=Path, required=True, help="weights, .safetensors")
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument("--images", type=Path, nargs="+", help="files or folders; with --caption")
    inputs.add_argument("--table", type=Path, help="CSV with the columns image and caption")
    parser.add_argument("--caption", help='"a photo of {} dogs", or with one number word for {}')
    parser.add_argument("--output", type=Path, help="CSV to write; standard output without it")
    parser.add_argument("--accelerator", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--batch", type=int, default=8, help="images at a time; a GPU: hundreds")
    chosen = parser.parse_args()
    if (chosen.images is None) != (chosen.caption is None):
        parser.error("--images and --caption go together; with --table its rows have captions")
    if chosen.output and chosen.output.is_dir():
        parser.error(f"--output: {chosen.output} is a folder; name the CSV to write")
    try:
        if chosen.table:
            pairs = from_table(chosen.table)
        else:
            pairs = from_files(chosen.images, chosen.caption)
        problems = predict(chosen.model, pairs, chosen.output, chosen.accelerator, chosen.batch)
    except (ValueError, OSError) as error:
        sys.exit(f"predict: {error}")
    for problem, n in problems.most_common():
        print(f"predict: no answer for {n} of {len(pairs)} images: {problem}", file=sys.stderr)
    sys.exit(int(problems.total() == len(pairs)))


if __name__ == "__main__":
    main()
