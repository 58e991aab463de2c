"""Command that counts in a user's images with a trained model, and writes a CSV.

    make predict ARGS='--model results/training/log_sched/seed1/selected.safetensors \
        --images folder photo.jpg --caption "a photo of {} dogs"'

One line for every image: `count`, the number of the most similar of nine captions; `probability`,
what CLIP gives it among the nine; `tie`, whether another caption is as similar (`count` is then the
lowest); the nine cosines; and, where an image could not be read, `problem` in place of these.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pandas as pd
from scipy.special import softmax

from countclip.data import captions
from countclip.data.images import MAX_BYTES, Unusable, decode, read_file
from countclip.data.number_words import WORDS
from countclip.evaluation import counting
from countclip.model import embeddings
from countclip.model.clip import Clip
from countclip.model.inputs import nine_captions, tokens_of
from countclip.model.libraries import Fabric
from countclip.runtime.csv_files import Columns, read_rows
from countclip.runtime.files import progress, read_json
from countclip.runtime.folders import contents, is_of_desktop, stored
from countclip.runtime.job import message
from countclip.runtime.resources import resource

AT_ONCE = 64
"""Images, or a batch if that is larger, after which the rows are written."""
SIMILARITIES = [f"similarity_{word}" for word in WORDS.values()]
COLUMNS = ["image", "caption", "count", "probability", "tie", *SIMILARITIES, "problem"]


class Pair(NamedTuple):
    """An image file with its caption; `filled` is the caption with the word of `number` once."""

    image: Path
    caption: str
    filled: str
    number: int


def load(weights: Path, config_file: Path | None = None) -> Clip:
    """The model of some weights: as a config file says, else model.json beside them.

    config_file: JSON of open_clip's form, called as the model; then no model.json is read.
    """
    if weights.suffix != ".safetensors":
        raise ValueError(f"{weights}: weights are read from a .safetensors file alone")
    if not weights.is_file():
        raise ValueError(f"{_absent(weights)}: name the weights of a training run")
    if config_file is not None:
        _check_config(config_file)
        return Clip(config_file.stem, str(weights.resolve()), str(config_file.resolve()))
    model_json = weights.with_name("model.json")
    otherwise = "name the file that describes the model as --config-file"
    try:
        model = read_json(model_json)["model"]
        name, config, pretrained = model["name"], model["config"], model.get("pretrained")
    except (OSError, ValueError, KeyError, TypeError) as error:
        is_absent = isinstance(error, FileNotFoundError)
        why = _absent(model_json) if is_absent else f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{model_json}: it must say which model {weights.name} is of, as a training writes it"
            f" beside its weights ({why}); copy it from there, or {otherwise}"
        ) from error
    if config is not None:
        places = _places(config, weights)
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            looked = ", ".join(dict.fromkeys(map(os.path.abspath, places)))
            raise ValueError(
                f"{model_json} says that {config} describes the model, and it is not there (looked"
                f" for: {looked}); copy it to one of these places, or {otherwise}"
            )
        config = str(found)
    try:
        return Clip(name, pretrained, config, weights=str(weights.resolve()))
    except ValueError as error:
        message = f"{error}\n{model_json} says which model they are of; name those of a training"
        raise ValueError(message) from error


def _places(config: str, weights: Path) -> list[Path]:
    """Where the file may be that a training's config names: here, in its run, beside the weights.

    A path of the config is relative to the folder of the run, the one that holds results/.
    """
    runs = [folder.parent for folder in weights.resolve().parents if folder.name == "results"]
    beside = weights.with_name(Path(config).name)
    return [Path(resource(config)), *(run / config for run in runs), beside]


def _check_config(config_file: Path) -> None:
    """Raise ValueError for a --config-file that does not describe a model of open_clip."""
    try:
        described = read_json(config_file)
    except FileNotFoundError as error:
        raise ValueError(f"--config-file {_absent(config_file)}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"--config-file {config_file}: {error}") from error
    parts = ("embed_dim", "vision_cfg", "text_cfg")
    described = described.get("model_cfg", described) if isinstance(described, dict) else None
    if not isinstance(described, dict) or any(part not in described for part in parts):
        raise ValueError(
            f"--config-file {config_file}: must be open_clip's JSON of a model, with"
            f" {', '.join(parts)}, called <name>.json; or an open_clip_config.json, which has"
            " them below `model_cfg`"
        )


def _absent(path: Path) -> str:
    """That a file is not there: where it was looked for, and where a broken link leads."""
    if os.path.islink(path):
        return f"{path}: is a link to {os.readlink(path)!r}, which is not there"
    return f"{path}: there is no such file, looked for as {os.path.abspath(path)}"


def from_files(paths: list[Path], caption: str) -> list[Pair]:
    """Each file, and each file in a folder and below it, with the same caption.

    Links are followed; a broken one is an image that cannot be read. What tools left in a folder
    is passed over, and named, but for what a desktop put there.
    """
    filled = captions.fill(caption)
    found: list[Path] = []
    for path in map(stored, paths):
        if not path.exists() and not path.is_symlink():
            raise ValueError(
                f"{path}: there is no such image or folder, looked for as {os.path.abspath(path)}"
            )
        if not path.is_dir():
            found += [] if is_of_desktop(path.name) else [path]  # of a shell's photos/*
            continue
        listed = contents(path).unusual()
        found += listed.files
        if listed.passed:
            print(f"predict: {path}: {listed.note()}", file=sys.stderr)
    if not found:
        raise ValueError(f"{', '.join(map(str, paths))}: no file is in there: name your images")
    return [Pair(file, caption, *filled) for file in found]


def from_table(path: Path) -> list[Pair]:
    """The rows of a CSV with the columns image, seen from its folder, and caption."""

    def pair(fields: dict[str, str], _: int) -> Pair:
        if not fields["image"]:
            raise ValueError("column image: is empty: write the path of a file")
        caption = fields["caption"]
        return Pair(stored(path.parent / fields["image"]), caption, *captions.fill(caption))

    pairs = read_rows(path, Columns(("image", "caption"), files=("image",)), pair)
    if not pairs:
        raise ValueError(f"{path}: it names no image; write a row for each")
    return pairs


def count(clip: Clip, pairs: list[Pair], fabric: Fabric, batch: int) -> pd.DataFrame:
    """A row with COLUMNS for each pair, in order."""
    rows, readable = [], []
    for pair in pairs:
        row = {"image": _shown(pair.image), "caption": pair.caption}
        try:
            image = clip.preprocessing.resize(decode(read_file(pair.image, MAX_BYTES)))
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


def _shown(path: Path) -> str:
    r"""A path as UTF-8, whatever its bytes are: one that is none becomes \xe9."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def writing(output: Path | None) -> Iterator[TextIO]:
    """Open the CSV in UTF-8, standard output without `output`, whatever the terminal's encoding is.

    An earlier file stays as it is until the first row is written.
    """
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        yield sys.stdout
        return
    try:
        is_new = not output.exists()
        output.parent.mkdir(parents=True, exist_ok=True)
        file = open(output, "a", encoding="utf-8", newline="\n")  # noqa: SIM115 closed below
    except OSError as error:
        raise ValueError(
            f"--output {output}: cannot be written ({error.strerror}); name another file"
        ) from error
    try:
        yield file
    except BaseException:
        with suppress(OSError):  # of a full disk, which closing would raise once more
            file.close()
        if is_new and output.is_file() and not output.stat().st_size:
            output.unlink()
        raise
    file.close()


def predict(
    weights: Path,
    pairs: list[Pair],
    output: Path | None,
    accelerator: str,
    batch: int,
    config_file: Path | None = None,
) -> Counter:
    """Write the CSV, to standard output without `output`, as the answers come.

    config_file: as in `load`. Returns how many images had which problem.
    """
    with writing(output) as file:
        try:
            fabric = Fabric(accelerator=accelerator, devices=1)
        except RuntimeError as error:
            raise ValueError(f"--accelerator {accelerator}: {error}") from error
        clip = load(weights, config_file)
        clip.model.to(fabric.device)
        problems, step = Counter(), max(AT_ONCE, batch)
        with progress(total=len(pairs), unit="image", desc="count") as bar:
            for start in range(0, len(pairs), step):
                table = count(clip, pairs[start : start + step], fabric, batch)
                text = table.to_csv(index=False, header=not start, lineterminator="\n")
                try:
                    if not start and output and output.is_file():
                        file.truncate(0)  # what an earlier run wrote
                    file.write(text)
                    file.flush()
                except OSError as error:
                    raise ValueError(
                        f"{output or 'standard output'}: {error.strerror} after {start} of"
                        f" {len(pairs)} images: make room, then count the others"
                    ) from error
                problems.update(table["problem"].dropna())
                bar.update(len(table))
    return problems


def main() -> None:
    """Exit with 1 where no image could be read, or with a message where nothing could begin."""
    parser = argparse.ArgumentParser(
        prog="predict", description="Count in your images with a trained model."
    )
    parser.add_argument("--model", type=Path, required=True, help="weights, .safetensors")
    described = "JSON of a model of yours, <name>.json; without it model.json beside --model"
    parser.add_argument("--config-file", type=Path, help=described)
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
    if chosen.caption and _shown(Path(chosen.caption)) != chosen.caption:
        parser.error("--caption: is not UTF-8; write it in the terminal's encoding")
    if chosen.output and chosen.output.is_dir():
        parser.error(f"--output: {chosen.output} is a folder; name the CSV to write")
    try:
        if chosen.table:
            pairs = from_table(chosen.table)
        else:
            pairs = from_files(chosen.images, chosen.caption)
        problems = predict(
            chosen.model,
            pairs,
            chosen.output,
            chosen.accelerator,
            chosen.batch,
            chosen.config_file,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"predict: {message(error)}")
    for problem, n in problems.most_common():
        print(f"predict: no answer for {n} of {len(pairs)} images: {problem}", file=sys.stderr)
    sys.exit(int(problems.total() == len(pairs)))


if __name__ == "__main__":
    main()
