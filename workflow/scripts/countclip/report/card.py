"""Command that makes a folder ready for the Hugging Face hub: a trained model, or a counting set.

    make card RUN=results/training/log_sched/seed1
    make card SET=main

A model's folder holds its weights, `open_clip_config.json` and a model card from the results; a
counting set's holds Parquet files and a dataset card. Nothing is uploaded.
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from countclip.data import shards
from countclip.data.number_words import WORDS
from countclip.report import pages, scores, sheets
from countclip.report.sheets import COUNT, SIGNED, TWO_DECIMALS, Cell, Sheet, p_value
from countclip.runtime.files import progress, publish, read_json, write_json, write_text
from countclip.runtime.job import message

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
TOKENIZERS = ("tokenizer*.json", "special_tokens_map.json", "*.model")
"""Files of a tokenizer of Hugging Face, which a training puts beside its weights."""
BATCH = 256
"""Pairs whose images are held at a time."""
ISSUES = "https://github.com/ultralytics/ultralytics"
LICENCE = {
    "model": "The weights began as those of the base model, so its licence and terms hold for them"
    " too. They were trained on images that belong to their owners. Objects in these were counted"
    f" by a detector; where it was YOLOv8 of [Ultralytics]({ISSUES}), that is AGPL-3.0, and so are"
    " its weights. Write the licence that you may give into `license` above before you publish.",
    "set": "Images and captions belong to their owners; the table names their addresses. LAION's"
    " metadata are CC BY 4.0. Objects were counted by a detector; where it was YOLOv8 of"
    f" [Ultralytics]({ISSUES}), that is AGPL-3.0, and so are its weights. Write the licence that"
    " you may give into `license` above before you publish.",
}
NO_RESULTS = "This model has not been measured: `{path}` has no row of it."


# ---- a trained model ----


def make_model_card(run: Path, output: Path, checkpoint: str = "selected") -> None:
    """Publish a model's folder for the hub from the folder of its training.

    checkpoint: which of its weights, a key of `scores.CHECKPOINTS`. What the results beside the
    training say of it goes into the card. ValueError names what is missing.
    """
    weights = run / f"{checkpoint}.safetensors"
    for file in (weights, run / "model.json", run / CONFIG):
        if not file.is_file():
            raise ValueError(
                f"{file}: is not there; name the folder of a finished training, such as"
                " results/training/log_sched/seed1"
            )
    settings, config = read_json(run / "model.json"), read_json(run / CONFIG)
    results = run.parents[1].parent
    with publish(output) as folder:
        folder.mkdir()
        _copy_weights(weights, folder / WEIGHTS)
        for pattern in TOKENIZERS:
            for file in run.glob(pattern):
                shutil.copyfile(file, folder / file.name)
        vocabulary = config["model_cfg"]["text_cfg"].get("tokenizer_kwargs", {}).get("bpe_path")
        if vocabulary:  # of the base model's config; open_clip has the others inside
            name = Path(vocabulary).name
            shutil.copyfile(vocabulary, folder / name)
            config["model_cfg"]["text_cfg"]["tokenizer_kwargs"]["bpe_path"] = name
        write_json(config, folder / CONFIG)
        card = model_card(settings, results, checkpoint, vocabulary and Path(vocabulary).name)
        write_text(card, folder / "README.md")


def _copy_weights(source: Path, target: Path) -> None:
    """Copy weights without the folders of this machine, which a training notes in their header.

    A .safetensors file is the length of its header (8 bytes), the header as JSON, and the tensors.
    """
    with open(source, "rb") as old, open(target, "wb") as new:
        header = json.loads(old.read(int.from_bytes(old.read(8), "little")))
        about = json.loads(header.get("__metadata__", {}).get("about", "{}"))
        model = about.get("model", {})
        for key in ("pretrained", "config"):
            if model.get(key):
                model[key] = _shared_name(model[key])
        header["__metadata__"] = {"format": "pt", "about": json.dumps(about, sort_keys=True)}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        new.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(old, new, 1 << 24)


def model_card(
    settings: dict[str, Any], results: Path, checkpoint: str, vocabulary: str | None = None
) -> str:
    """README.md of a model: settings of its model.json, and what `results` holds of it."""
    variant, model = settings["variant"], settings["model"]
    table = _read(results / "table1.csv", scores.read_table1)
    of_variant = _rows(table, variant)
    label = variant if of_variant.empty else of_variant["label"].iloc[0]
    base = f"{model['name']} ({_shared_name(model['pretrained'])})"
    shown = [*_benchmark_sheets(results, variant, checkpoint), *_retention_sheets(results, variant)]
    front = {
        "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "license": "other",
        "tags": ["clip", "counting", "open_clip"],
        "model-index": [{"name": label, "results": _index(table, variant, checkpoint)}],
    }
    if not front["model-index"][0]["results"]:
        del front["model-index"]
    words = f"{', '.join(list(WORDS.values())[:-1])} and {WORDS[max(WORDS)]}"
    parts = [
        f"# {sheets.plain_markdown(label)}",
        f"CLIP {sheets.plain_markdown(base)}, fine-tuned to count: of captions that differ in the"
        f" number word ({words}) it finds the one with the right number. Seed {settings['seed']},"
        f" checkpoint “{scores.CHECKPOINTS[checkpoint]}”.",
        _usage(vocabulary),
        *(f"#{sheets.markdown(sheet)}".strip() for sheet in shown),
    ]
    if not shown:
        parts.append(f"## Results\n\n{NO_RESULTS.format(path='results/table1.csv')}")
    parts += [
        _training_data(results, settings.get("counting_set")),
        "## Training\n\n" + _settings_list(settings),
        f"## Licence\n\n{LICENCE['model']}",
        "## Limits\n\nA model always answers with a number from two to ten, whatever the image"
        " shows. The intervals cover the choice of images alone.",
    ]
    return _with_front_matter(front, parts)


def _usage(vocabulary: str | None) -> str:
    bpe = f', bpe_path=f"{{folder}}/{vocabulary}"' if vocabulary else ""
    return f"""## Use

```python
import open_clip

folder = "."  # of this card; "hf-hub:owner/name" once it is on the hub
model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{{folder}}")
tokenizer = open_clip.get_tokenizer(f"local-dir:{{folder}}"{bpe})
```

open_clip ignores transparency and the orientation that a camera notes, where the training put
images on white and upright: do the same with yours."""


def _benchmark_sheets(results: Path, variant: str, checkpoint: str) -> Iterator[Sheet]:
    """Accuracy on CountBench and on each further benchmark, beside the pretrained baseline's."""
    files = [results / "table1.csv", *sorted(results.glob("benchmarks/*/table.csv"))]
    for file in files:
        table = _read(file, scores.read_table1)
        if not _rows(table, variant).empty:
            yield _benchmark_sheet(table, variant, checkpoint)
    per_class = _rows(_read(results / "table1_per_class.csv", sheets.read_csv), variant)
    if not per_class.empty:
        yield _number_sheet(per_class[per_class["checkpoint"] == checkpoint])


def _benchmark_sheet(table: pd.DataFrame, variant: str, checkpoint: str) -> Sheet:
    key = f"accuracy_{checkpoint}"
    formats = {
        **dict.fromkeys((key, f"{key}_low", f"{key}_high"), TWO_DECIMALS),
        "difference_baseline": SIGNED,
        **dict.fromkeys(("difference_baseline_low", "difference_baseline_high"), TWO_DECIMALS),
        "p_end_vs_baseline_holm": p_value,
        "mae": TWO_DECIMALS,
    }
    rows = table[table["variant"].isin([scores.baseline_of(table, variant), variant])]
    lines = []
    for row, text in zip(rows.to_dict("records"), sheets.texts(rows, formats), strict=True):
        difference = text["difference_baseline"]
        low, high = text["difference_baseline_low"], text["difference_baseline_high"]
        lines.append(
            [
                Cell(row["label"]),
                Cell(text[key], f"[{text[f'{key}_low']}, {text[f'{key}_high']}]"),
                Cell(difference or "–", f"[{low}, {high}]" if difference else ""),
                Cell(text["p_end_vs_baseline_holm"] or "–"),
                Cell(text["mae"]),
            ]
        )
    seeds = rows.loc[rows["variant"] == variant, "seeds"].iloc[0]
    chosen = "Values of the chosen checkpoint are optimistic: it was chosen on these images."
    return Sheet(
        f"Counting, {rows['benchmark'].iloc[0]}, n = {rows['n'].iloc[0]}",
        ["Model", "Accuracy (%)", "Difference at the end", "p, corrected", "MAE at the end"],
        lines,
        [
            f"The accuracy is that of “{scores.CHECKPOINTS[checkpoint]}”; difference, p and MAE are"
            f" of the end of training. All are means over the seeds {seeds}; these weights are one"
            " of them." if " " in seeds else
            f"The accuracy is that of “{scores.CHECKPOINTS[checkpoint]}”; difference, p and MAE are"
            " of the end of training.",
            *([chosen] if checkpoint == "best_on_benchmark" else []),
            "Brackets hold 95 % confidence intervals: Wilson's for accuracies, the paired"
            " bootstrap's over images for differences. p: exact McNemar test, Holm-corrected over"
            " all tests of the run's table.",
        ],
        pages.stamp(rows["scale"].iloc[0]),
    )  # fmt: skip


def _number_sheet(per_class: pd.DataFrame) -> Sheet:
    formats = {"answers": COUNT, "recall": TWO_DECIMALS, "precision": TWO_DECIMALS}
    lines = [
        [Cell(WORDS[number]), *(Cell(text[name] or "–") for name in formats)]
        for number, text in zip(per_class["number"], sheets.texts(per_class, formats), strict=True)
    ]
    return Sheet(
        "Counting by number",
        ["Number", "Answers", "Recall (%)", "Precision (%)"],
        lines,
        ["Of the benchmark's images; answers of several seeds are added up."],
    )


def _retention_sheets(results: Path, variant: str) -> Iterator[Sheet]:
    """What the model could do before, and can do now."""
    table = _rows(_read(results / "retention.csv", sheets.read_csv), variant)
    names = ("before", "after", "difference")
    formats = {
        f"{name}{bound}": SIGNED if name == "difference" else TWO_DECIMALS
        for name in names
        for bound in ("", "_low", "_high")
    }
    table = table[table.get("checkpoint", pd.Series(dtype=str)) == "end"]
    if table.empty:
        return
    lines = [
        [
            Cell(f"{row['task']}, {row['measure']}"),
            Cell(str(row["n"])),
            *(Cell(text[n], f"[{text[f'{n}_low']}, {text[f'{n}_high']}]") for n in names),
        ]
        for row, text in zip(table.to_dict("records"), sheets.texts(table, formats), strict=True)
    ]
    yield Sheet(
        "Retention at the end of training",
        ["Task", "n", "Before (%)", "After (%)", "Difference"],
        lines,
        ["What fine-tuning for counting cost elsewhere. Brackets hold 95 % intervals."],
        pages.stamp(table["scale"].iloc[0]),
    )


def _index(table: pd.DataFrame, variant: str, checkpoint: str) -> list[dict[str, Any]]:
    """The results as the hub lists them; none of a miniature, whose numbers are not CLIP's."""
    return [
        {
            "task": {"type": "zero-shot-image-classification"},
            "dataset": {"type": "countbench", "name": f"CountBench ({row.benchmark}, n = {row.n})"},
            "metrics": [
                {"type": "accuracy", "value": round(getattr(row, f"accuracy_{checkpoint}"), 2)}
            ],
        }
        for row in _rows(table, variant).itertuples()
        if pages.stamp(row.scale) is None
    ]


def _settings_list(settings: dict[str, Any]) -> str:
    model = settings["model"] | {"pretrained": _shared_name(settings["model"]["pretrained"])}
    model.pop("config", None)
    facts = {
        "base model": ", ".join(map(str, model.values())),
        "variant, seed": f"{settings['variant']}, {settings['seed']}",
        **settings.get("training", {}),
        **settings.get("versions", {}),
    }
    text = {key: "none" if value is None else str(value) for key, value in facts.items()}
    return "\n".join(
        f"- {sheets.plain_markdown(key)}: {sheets.plain_markdown(value)}"
        for key, value in text.items()
    )


# ---- a counting set ----


def make_set_card(folder: Path, output: Path, images: list[Path] | None = None) -> None:
    """Publish a counting set's folder for the hub from its folder below results/counting_set/.

    images: manifests of the images, to put these inside; None leaves them out, so that each pair
    has the address of its image alone.
    """
    for name in ("counting.parquet", "non_counting.parquet", "summary.json"):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name}: is not there; name a set that a run has made, below"
                " results/counting_set/"
            )
    summary = read_json(folder / "summary.json")
    with publish(output) as made:
        made.mkdir()
        counts = {
            file: _write_split(folder / f"{file.split('/')[0]}.parquet", made / file, split, images)
            for file, split in SPLITS.items()
        }
        write_text(set_card(folder.name, summary, counts, bool(images)), made / "README.md")


SPLITS = {
    "counting/train.parquet": "train",
    "counting/heldout.parquet": "heldout",
    "non_counting/train.parquet": None,
}
"""Files of a set's folder, and the split whose rows each has; None: all of the table."""


def _write_split(table: Path, path: Path, split: str | None, images: list[Path] | None) -> int:
    """Write the rows of a split with their images, a few at a time; returns how many there are."""
    rows = pq.read_table(table)
    chosen = [True] * len(rows)
    if split is not None:
        chosen = [each == split for each in rows["split"].to_pylist()]
        rows = rows.filter(pa.array(chosen)).drop_columns(["split"])
    path.parent.mkdir(parents=True, exist_ok=True)
    if images is None:
        pq.write_table(rows, path, compression="zstd")
        return len(rows)
    bodies = shards.read_pairs(images, table)
    wanted = (body for body, is_chosen in zip(bodies, chosen, strict=True) if is_chosen)
    schema = rows.schema.append(pa.field("image", IMAGE))
    schema = schema.with_metadata({"huggingface": json.dumps(_features(schema))})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in progress(range(0, len(rows), BATCH), unit="batch", desc=path.stem):
            part = rows.slice(start, BATCH)
            held = [{"bytes": body, "path": None} for body in islice(wanted, len(part))]
            column = pa.array(held, IMAGE)
            writer.write_table(pa.Table.from_arrays([*part.columns, column], schema=schema))
    return len(rows)


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An image as the hub's `datasets` stores it."""


STEPS = ("candidates", "downloaded", "matched", "train", "heldout")
"""Of a summary's numbers, in their order."""


def set_card(name: str, summary: dict[str, Any], counts: dict[str, int], images: bool) -> str:
    """README.md of a counting set: summary of its summary.json, rows of each file."""
    names = dict.fromkeys(file.split("/")[0] for file in counts)
    front = {
        "license": "other",
        "task_categories": ["zero-shot-image-classification"],
        "tags": ["counting", "clip"],
        "configs": [
            {
                "config_name": config,
                "data_files": [
                    {"split": Path(file).stem, "path": file}
                    for file in counts
                    if file.startswith(f"{config}/")
                ],
            }
            for config in names
        ],
    }
    steps = [step for step in STEPS if step in summary["numbers"][0]]
    numbers = Sheet(
        "Pairs by number",
        ["Number", *steps],
        [[Cell(row["word"]), *(Cell(str(row[step])) for step in steps)]
         for row in summary["numbers"]],
        ["What is left after each step, at last in the two parts of this set."],
    )  # fmt: skip
    files = "\n".join(f"- `{file}`: {n} pairs" for file, n in counts.items())
    parts = [
        f"# Counting set {sheets.plain_markdown(name)}",
        "Image-caption pairs whose caption names how many objects the image shows, two to ten, and"
        " whose image has that many by a detector (`counting`); and pairs that count nothing"
        " (`non_counting`).",
        f"{files}\n\n"
        + ("The images are inside, as they were downloaded."
           if images
           else "The images are not inside: `url` says where each is, `sha256` which it was."),
        _funnel(summary),
        f"#{sheets.markdown(numbers)}".strip(),
        "## Made with\n\n" + "\n".join(
            f"- {sheets.plain_markdown(key)}: {sheets.plain_markdown(str(value))}"
            for key, value in summary["settings"].items()
        ),
        f"## Licence\n\n{LICENCE['set']}",
    ]  # fmt: skip
    return _with_front_matter(front, parts)


def _features(schema: pa.Schema) -> dict[str, Any]:
    """The columns as the hub's `datasets` describes them."""
    return {
        "info": {
            "features": {
                field.name: {"_type": "Image"}
                if field.type == IMAGE
                else {"dtype": str(field.type), "_type": "Value"}
                for field in schema
            }
        }
    }


# ---- both ----


def _training_data(results: Path, name: str | None) -> str:
    """What the counting set of a training held."""
    path = results / "counting_set" / str(name) / "summary.json"
    if name is None or not path.is_file():
        return "## Training data\n\nIts counting set is not beside the results any more."
    summary = read_json(path)
    pairs = f"{summary['train']} pairs to count on, {summary['heldout']} held out to select on"
    others = f"{summary['non_counting_pairs']} pairs that count nothing"
    return f"## Training data\n\nCounting set `{name}`: {pairs}, {others}.\n\n{_funnel(summary)}"


def _funnel(summary: dict[str, Any]) -> str:
    """The steps of a counting set's making: rows, what was kept and lost, by reason."""
    steps = []
    for step in summary["counting"]:
        lost = ", ".join(f"{reason} {n}" for reason, n in step["lost"].items() if n)
        steps.append(
            f"- {step['step']}: {step['kept']} of {step['rows']} left"
            + (f" (lost: {lost})" if lost else "")
        )
    return "\n".join(steps)


def _with_front_matter(front: dict[str, Any], parts: list[str]) -> str:
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head}---\n\n" + "\n\n".join(parts) + "\n"


def _shared_name(pretrained: str) -> str:
    """A tag, or the name of a file of weights without the folders of this machine."""
    return Path(pretrained).name


def _read(path: Path, read: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """A table of results; one without rows where there is none."""
    return read(str(path)) if path.is_file() else pd.DataFrame()


def _rows(table: pd.DataFrame, variant: str) -> pd.DataFrame:
    return table[table["variant"] == variant] if len(table) else table


def main() -> None:
    """Exit with a message where a folder cannot be made."""
    parser = argparse.ArgumentParser(prog="card", description="Make a folder for the hub.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a training, such as"
                        " results/training/log_sched/seed1")  # fmt: skip
    source.add_argument("--set", help="id of a counting set, or its folder")
    parser.add_argument("--checkpoint", default="selected", choices=tuple(scores.CHECKPOINTS))
    parser.add_argument("--images", action="store_true", help="of a set: put the images inside")
    parser.add_argument("--output", type=Path, help="folder to make; below results/cards/ without")
    chosen = parser.parse_args()
    if chosen.images and chosen.run:
        parser.error("--images goes with --set")
    try:
        if chosen.run:
            run = Path(os.path.abspath(chosen.run))
            output = chosen.output or Path("results/cards", f"{run.parent.name}_{run.name}")
            _refuse_foreign(output)
            make_model_card(run, output, chosen.checkpoint)
        else:
            is_id = re.fullmatch(r"\w+", chosen.set) and not Path(chosen.set).is_dir()
            folder = Path("results/counting_set", chosen.set) if is_id else Path(chosen.set)
            output = chosen.output or Path("results/cards", f"counting_set_{folder.name}")
            _refuse_foreign(output)
            make_set_card(folder, output, _manifests(folder) if chosen.images else None)
    except (ValueError, OSError, KeyError) as error:
        sys.exit(f"card: {message(error)}")
    print(f"card: {output} is ready; read its README.md, then: hf upload OWNER/NAME {output}")


def _manifests(folder: Path) -> list[Path]:
    """The manifests of a counting set's images: its own, or those of the metadata's parts."""
    results = folder.parents[1]
    own = results / "counted/images" / f"{folder.name}.parquet"
    return [own] if own.is_file() else sorted((results / "images").glob("*.parquet"))


def _refuse_foreign(output: Path) -> None:
    """Raise ValueError for a folder that holds something else than an earlier card."""
    if output.exists() and not (output / "README.md").is_file():
        raise ValueError(f"--output {output}: is there, and no card made it; name another folder")


if __name__ == "__main__":
    main()
