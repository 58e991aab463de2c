"""Settings of the reading experiment as the rules read them, from the section `reading`.

Pure functions of the standard library alone, as those of the room `settings`. A config that
contradicts itself raises ConfigError, before anything runs.
"""

from typing import Any

from countclip.experiments.reading.hard_on import HARD_ON
from countclip.experiments.reading.variants import VARIANTS, Variant
from countclip.runtime.provenance import sections
from countclip.settings import experiments
from countclip.settings.common import NO_RESULT, Config, ConfigError, value_at
from countclip.settings.network import OVER_PAPER

SPLITS = ("train", "validation")
TEMPLATES = ("question_template", "answer_template")


def check(config: Config) -> None:
    """Raise ConfigError for rows that there are not, and for a source that cannot be read."""
    reading = config["reading"]
    if not experiments.reading_is_made(config):
        return
    if unknown := sorted(set(reading["variants"]) - set(VARIANTS)):
        raise ConfigError(
            f"reading.variants: there is no {', '.join(unknown)}; name some of"
            f" {', '.join(VARIANTS)}, or register it in experiments/reading/variants.py"
        )
    if not reading["variants"]:
        raise ConfigError("reading.variants: is empty; name some, or set reading.source to none")
    for key in ("words.readers", "crops.reader", "panels.readers"):
        _chosen(config, key)
    if VARIANTS[reading["crops"]["reader"]].asks == "question":
        raise ConfigError(
            f"reading.crops.reader: {reading['crops']['reader']} looks at no image; name another"
        )
    if reading["words"]["csv"] and not reading["words"]["images"]:
        raise ConfigError("reading.words.images: must be the folder of the paths in words.csv")
    for key, field in (
        ("question_template", "question"),
        ("answer_template", "answer"),
        ("statements.template", "question"),
        ("statements.template", "answer"),
    ):
        _check_template(f"reading.{key}", value_at(reading, key), field)
    if reading["source"] == "hub":
        if config["network"] != "internet":
            raise ConfigError(
                "reading.source: the hub is on the internet, and network is"
                f" {config['network']}; set network: internet, {OVER_PAPER}"
            )
        return
    for split in SPLITS:
        if not reading["splits"][split]["questions"]:
            raise ConfigError(
                f"reading.splits.{split}.questions: source {reading['source']} needs a path; name"
                " it, or set reading.source to hub"
            )
    if reading["source"] == "json" and not reading["images"]:
        raise ConfigError("reading.images: source json needs the folder of the images; name it")


def _check_template(key: str, template: str, field: str) -> None:
    """Raise ConfigError for a template without a field, or with one that there is not."""
    try:
        filled = template.format(question="\0", answer="\1")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{key}: {template!r} has a field that there is not; write {{{field}}} for the"
            f" {field}, and a brace of the text twice"
        ) from error
    if {"question": "\0", "answer": "\1"}[field] not in filled:
        raise ConfigError(f"{key}: {template!r} has no {{{field}}}; write it where that stands")


# ---- rows ----


def variants(config: Config) -> dict[str, Variant]:
    """Rows of the table that models answer, in the order of variants.py."""
    chosen = config["reading"]["variants"]
    return {name: one for name, one in VARIANTS.items() if name in chosen}


def _chosen(config: Config, key: str) -> list[str]:
    """The rows that a key lists; ConfigError for one that is no reader of the table."""
    value = value_at(config["reading"], key)
    names = [value] if isinstance(value, str) else value
    readers = [name for name, one in VARIANTS.items() if not one.statements]
    if unknown := [name for name in names if name not in readers]:
        raise ConfigError(
            f"reading.{key}: there is no reader {', '.join(unknown)}; name one of"
            f" {', '.join(readers)}"
        )
    return [name for name in names if name in variants(config)]


def readers(config: Config, section: str) -> list[str]:
    """The readers that a table or figure shows, without those that are left out of the table.

    section: words, crops or panels. Where none is left, the first reader of the table.
    """
    key = f"{section}.reader" + ("" if section == "crops" else "s")
    first = [name for name, one in variants(config).items() if not one.statements]
    return _chosen(config, key) or first[:1]


def labels(config: Config, section: str) -> list[list[str]]:
    """Name and label of these readers."""
    return [[name, VARIANTS[name].label] for name in readers(config, section)]


def clusterings(config: Config) -> list[str]:
    """What pairs are clustered by: for hard negatives, and `both` for accuracy within clusters."""
    used = {one.hard_on for one in variants(config).values()} | {"both"}
    return [name for name in HARD_ON if name in used]


# ---- files ----


def files(config: Config, split: str) -> list[str]:
    """The files that the questions of a split come from."""
    if config["reading"]["source"] == "hub":
        return [f"results/reading/parquet/{split}.json"]
    path = config["reading"]["splits"][split]["questions"]
    return [path] if path else []


def ocr(config: Config, split: str) -> list[str]:
    """The file of OCR of a split, if there is one."""
    path = config["reading"]["splits"][split]["ocr"]
    return [path] if path else []


def image_sources(config: Config, split: str) -> list[str]:
    """What the images of a split are read from: its files, and the folder beside a JSON."""
    reading = config["reading"]
    beside = reading["source"] == "json" and reading["images"]
    return [*files(config, split), *([reading["images"]] if beside else [])]


def manifest(config: Config) -> str:
    """The table of the hub's parts: a person's, or what make_reading_manifest lists."""
    return config["reading"]["manifest"] or "results/reading/manifest.tsv"


def weights(config: Config, name: str, seeds: list[int] | None = None) -> list[str]:
    """The weights of a reader, one file a seed; none of one that is not trained."""
    seeds = config["reading"]["seeds"] if seeds is None else seeds
    folder = f"results/reading/training/{name}"
    return [f"{folder}/seed{seed}/end.safetensors" for seed in seeds if VARIANTS[name].trained]


def first_weights(config: Config, section: str) -> list[str]:
    """The weights of the readers that a section names, of the first seed."""
    seeds = config["reading"]["seeds"][:1]
    return [file for name in readers(config, section) for file in weights(config, name, seeds)]


def predictions(config: Config, name: str) -> list[str]:
    """The predictions of a row, one file a seed; what is not trained has the seed 0."""
    seeds = config["reading"]["seeds"] if VARIANTS[name].trained else [0]
    return [f"results/reading/predictions/seed{seed}/{name}.parquet" for seed in seeds]


def reader_predictions(config: Config) -> list[str]:
    """The predictions of all rows whose reader answers by itself."""
    rows = [name for name, one in variants(config).items() if not one.statements]
    return [file for name in rows for file in predictions(config, name)]


def table_predictions(config: Config) -> list[str]:
    """The predictions that the table is made from."""
    files = [file for name in variants(config) for file in predictions(config, name)]
    if config["reading"]["ocr_longest_side"] is not None:
        files.append("results/reading/predictions/seed0/ocr.parquet")
    return files


def panel_predictions(config: Config) -> list[str]:
    """The predictions that the figure of single questions shows, of the first seed."""
    return [predictions(config, name)[0] for name in readers(config, "panels")]


# ---- specs ----


def source_settings(config: Config) -> Config:
    """How the files of questions and images are read."""
    return {key: config["reading"][key] for key in ("source", "images", "follow_links")}


def split_settings(config: Config, split: str) -> Config:
    """What the tables of a split follow from, beside its files."""
    return source_settings(config) | {
        "complete": config["reading"]["complete"],
        "files": files(config, split),
        "ocr": ocr(config, split),
    }


def _reader(config: Config, name: str) -> dict[str, Any]:
    """The reader of a row, as `model.make_reader` takes it, with 0 for what it does not use."""
    reader, variant = config["reading"]["reader"], VARIANTS[name]
    return {
        "asks": variant.asks,
        "hidden": reader["hidden"] if variant.trained else 0,
        "image_weight": reader["image_weight"] if variant.asks == "image+question" else 0,
    }


def embedding_settings(config: Config) -> Config:
    """What the embeddings follow from."""
    reading = {key: config["reading"][key] for key in ("model", *TEMPLATES)}
    return {"reading": reading} | sections(config, ["evaluation.precision", "evaluation.threads"])


def cluster_settings(config: Config) -> Config:
    """What the clusters of pairs follow from, beside the embeddings."""
    reading = config["reading"]
    return {"size": reading["training"]["batch_size"], "seed": reading["cluster_seed"]}


def training_settings(config: Config, name: str) -> Config:
    """What the trainings of a row follow from, beside its files."""
    if name not in variants(config) or not VARIANTS[name].trained:
        known = [one for one, settings in variants(config).items() if settings.trained]
        raise ConfigError(
            f"reading.variants: there is no {name!r} that is trained; there are {', '.join(known)}"
        )
    variant, training = VARIANTS[name], config["reading"]["training"]
    return {
        "reader": _reader(config, name),
        "treatment": variant.treatment,
        "random_share": variant.random_share,
        "shuffle_answers": variant.shuffle_answers,
        "training": {key: value for key, value in training.items() if key not in NO_RESULT},
        "seeds": config["reading"]["seeds"],
    }


def training_clusters(name: str) -> list[str]:
    """The clusters from which the batches of a row are drawn, if any."""
    hard_on = VARIANTS[name].hard_on if name in VARIANTS else None
    return [f"results/reading/clusters/{hard_on}.parquet"] if hard_on else []


def prediction_settings(config: Config) -> Config:
    """What the predictions of all readers follow from, beside their weights."""
    return {
        "readers": [
            [name, _reader(config, name)]
            for name, one in variants(config).items()
            if not one.statements
        ],
        "threads": config["evaluation"]["threads"],
    }


def statement_settings(config: Config) -> Config:
    """What the predictions by statements follow from."""
    reading = config["reading"]
    return {
        "reader": _reader(config, "statements"),
        "model": reading["model"],
        "statements": reading["statements"],
    } | sections(config, ["evaluation.precision", "evaluation.threads"])


def reader_settings(config: Config, section: str) -> Config:
    """What a section's readers answer with: `readers`, the model, how it is evaluated."""
    names = readers(config, section)
    return {
        "readers": [[name, _reader(config, name)] for name in names],
        "model": config["reading"]["model"],
    } | sections(config, ["evaluation.precision", "evaluation.threads"])


def word_settings(config: Config) -> Config:
    """What the reading of single words follows from."""
    words = {key: config["reading"]["words"][key] for key in ("csv", "images", "question")} | {
        key: config["reading"][key] for key in ("follow_links", "answer_template")
    }
    return reader_settings(config, "words") | {"words": words}


def table_settings(config: Config) -> Config:
    """What the table follows from, beside its inputs."""
    reading = config["reading"]
    templates = {key.removesuffix("_template"): reading[key] for key in TEMPLATES}
    if "statements" in variants(config):
        templates["statement"] = reading["statements"]["template"]
    return {
        "label": reading["label"],
        "rows": list(variants(config)),
        "templates": templates,
        "model": reading["model"]["name"],
        "view": reading["view"],
        "scale": config["scale"],
    }


def panel_settings(config: Config) -> Config:
    """What the figure of single questions follows from."""
    panels = config["reading"]["panels"]
    return source_settings(config) | {
        "labels": labels(config, "panels"),
        "questions": panels["questions"],
        "seed": panels["seed"],
        "scale": config["scale"],
    }
