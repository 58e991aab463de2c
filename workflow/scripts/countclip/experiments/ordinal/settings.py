"""Settings of ordinal regression as the rules read them, from the section `ordinal` of the config.

Pure functions of the standard library alone, as those of the room `settings`. A config that
contradicts itself raises ConfigError, before anything runs.
"""

from pathlib import Path
from typing import Any

from countclip.experiments.ordinal.methods import BY_NAME, Method, method_of
from countclip.experiments.ordinal.task import bins_of_equal_width, check_bins
from countclip.runtime.provenance import sections
from countclip.runtime.resources import is_result, resource
from countclip.settings import experiments
from countclip.settings.common import (
    NO_RESULT,
    Config,
    ConfigError,
    active,
    entry,
    refuse_equal_labels,
    value_at,
)
from countclip.settings.user_files import files_in_column

CHECKPOINTS = ("selected", "best_on_test")
"""Those that methods predict with: best on the validation part, and on the test part."""
WITHOUT_TEXTS = ("constant", "linear_probe")
"""Methods that compare images with no text."""


def check(config: Config) -> None:
    """Raise ConfigError for a set or a method that cannot be meant, or that two labels hide."""
    for name in experiments.ordinal_sets(config):
        try:
            check_bins(experiments.ordinal_set(config, name)["task"])
        except ValueError as error:
            raise ConfigError(f"ordinal.sets.{name}.task: {error}") from error
    labels = {name: one.label for name, one in methods(config).items()}
    refuse_equal_labels("ordinal.methods", labels)
    embedded(config)
    if config["ordinal"]["studies"]["made"]:
        _check_studies(config)


# ---- sets ----


def folds(config: Config, name: str) -> range:
    """Numbers of a set's folds, from 1."""
    return range(1, experiments.ordinal_set(config, name)["folds"]["count"] + 1)


def fold_settings(config: Config, name: str) -> Config:
    """What the folds of a set follow from."""
    settings = experiments.ordinal_set(config, name)
    return {key: settings[key] for key in ("csv", "images", "follow_links", "folds")} | {
        "task": {key: settings["task"][key] for key in ("values", "bins")}
    }


def image_settings(config: Config, name: str) -> Config:
    """What the packed images of a set follow from, beside the model."""
    return {key: experiments.ordinal_set(config, name)[key] for key in ("images", "follow_links")}


def listed_images(config: Config, name: str) -> list[str]:
    """The images of a user's set, to notice one that is replaced; none of one that a rule makes."""
    settings = experiments.ordinal_set(config, name)
    if is_result(settings["images"]):
        return []
    csv, folder = (Path(resource(settings[key])) for key in ("csv", "images"))
    return files_in_column(csv, "path", folder)


# ---- methods ----


def methods(config: Config) -> dict[str, Method]:
    """The rows of the tables: id -> method with its options, in the config's order."""
    return {name: method_of(*_choice(config, name)) for name in active(config, "ordinal.methods")}


def _choice(config: Config, name: str) -> tuple[str, dict[str, Any]]:
    """The method that an id begins with, and the fields that differ from it."""
    options = dict(entry(config, "ordinal.methods", name))
    method = options.pop("method", name)
    if method not in BY_NAME:
        raise ConfigError(
            f"ordinal.methods.{name}: there is no method {method!r}; set its `method` to one of"
            f" {', '.join(BY_NAME)}"
        )
    differ = {
        key: value for key, value in options.items() if value != getattr(BY_NAME[method], key)
    }
    return method, differ


def _chosen(config: Config, key: str) -> list[str]:
    """The methods that a key lists, without those that are left out of the table."""
    if unknown := sorted(set(value_at(config, key)) - set(config["ordinal"]["methods"])):
        raise ConfigError(f"{key}: `ordinal.methods` has no {', '.join(unknown)}; correct the list")
    return [name for name in value_at(config, key) if name in active(config, "ordinal.methods")]


def _settings(config: Config, name: str, method: str) -> dict[str, Any]:
    """What both training and prediction of a method on a set follow from, beside the model.

    A prompt that the method does not use is left out.
    """
    base, options = _choice(config, method)
    prompt = {"bins": "prompt", "numbers": "number_prompt"}[BY_NAME[base].concepts]
    task = experiments.ordinal_set(config, name)["task"]
    return {
        "method": base,
        "options": {key: value for key, value in options.items() if key != "label"},
        "task": {key: task[key] for key in ("values", "bins", prompt)},
    }


def training_settings(config: Config, name: str, method: str) -> Config:
    """What a training of a method on a fold of a set follows from."""
    training = config["ordinal"]["training"]
    training = {key: value for key, value in training.items() if key not in NO_RESULT}
    return sections(config, ["model"]) | {"ordinal": training | _settings(config, name, method)}


def prediction_settings(config: Config, name: str, method: str) -> Config:
    """What the predictions of a method on a set follow from, beside its weights."""
    scale = {"logit_scale": config["ordinal"]["training"]["logit_scale"]}
    return sections(config, ["model", "evaluation.precision", "evaluation.threads"]) | {
        "ordinal": _settings(config, name, method) | scale
    }


def weights(config: Config, name: str, method: str, seed: str) -> list[str]:
    """Weights of all folds that a method predicts with; none of one that is not trained."""
    if not methods(config)[method].losses:
        return []
    folder = f"results/ordinal/{name}/training/{method}/seed{seed}"
    return [
        f"{folder}/fold{fold}/{checkpoint}.safetensors"
        for checkpoint in CHECKPOINTS
        for fold in folds(config, name)
    ]


def predictions(config: Config, name: str) -> list[str]:
    """The lists of the predictions of all methods and seeds; what is not trained has the seed 0."""
    return [
        f"results/ordinal/{name}/predictions/seed{seed}/{method}.json"
        for method, settings in methods(config).items()
        for seed in (config["ordinal"]["seeds"] if settings.losses else [0])
    ]


def table_settings(config: Config, name: str) -> Config:
    """What the table of a set follows from, beside its predictions."""
    settings = experiments.ordinal_set(config, name)
    return {
        "labels": [[method, one.label] for method, one in methods(config).items()],
        "task": {key: settings["task"][key] for key in ("shows", "values", "bins")},
        "published": settings["published"],
        "deviations": settings["deviations"],
        "scale": config["scale"],
    }


# ---- embeddings ----


def embedded(config: Config) -> list[str]:
    """Methods whose embeddings figures show, in the order of the figures."""
    chosen = _chosen(config, "ordinal.embeddings")
    if none := [name for name in chosen if _choice(config, name)[0] in WITHOUT_TEXTS]:
        raise ConfigError(
            f"ordinal.embeddings: {', '.join(none)} compares no texts; name another method"
        )
    return chosen


def embedded_weights(config: Config, name: str) -> list[str]:
    """Weights that embeddings are of: those of fold 1 with the first seed, where there are any."""
    seed = str(config["ordinal"]["seeds"][0])
    return [
        file
        for method in embedded(config)
        for file in weights(config, name, method, seed)
        if file.endswith("/fold1/selected.safetensors")
    ]


def order_settings(config: Config) -> Config:
    """What the figures of embeddings follow from, beside these."""
    rows = methods(config)
    labels = [[name, rows[name].label] for name in embedded(config)]
    return {"labels": labels, "scale": config["scale"]}


def embedding_settings(config: Config, name: str) -> Config:
    """What the embeddings of a set follow from, beside the weights."""
    return sections(config, ["model", "evaluation.precision", "evaluation.threads"]) | {
        "methods": {method: _settings(config, name, method) for method in embedded(config)}
    }


# ---- studies ----


def _check_studies(config: Config) -> None:
    """Raise ConfigError for a study that cannot be made."""
    studies = config["ordinal"]["studies"]
    if studies["set"] not in experiments.ordinal_sets(config):
        raise ConfigError(
            f"ordinal.studies.set: there is no set {studies['set']!r}; name one of"
            f" {', '.join(experiments.ordinal_sets(config))}"
        )
    if not _chosen(config, "ordinal.studies.methods"):
        raise ConfigError("ordinal.studies.methods: none is a row of `ordinal.methods`; name some")
    task = experiments.ordinal_set(config, studies["set"])["task"]
    lowest, highest = task["values"]
    for first, last in studies["outside"] if "outside" in studies["made"] else []:
        if not lowest <= first <= last <= highest or (first, last) == (lowest, highest):
            raise ConfigError(
                f"ordinal.studies.outside: {first} to {last} must be a part of {lowest} to"
                f" {highest}, the set's values"
            )
    for count in studies["growing"] if "growing" in studies["made"] else []:
        try:
            bins_of_equal_width(task, count)
        except ValueError as error:
            raise ConfigError(f"ordinal.studies.growing: {error}") from error


def study_settings(config: Config, study: str) -> Config:
    """What the predictions of a study follow from, beside the set's folds and images."""
    studies, training = config["ordinal"]["studies"], config["ordinal"]["training"]
    choices = {name: _choice(config, name) for name in _chosen(config, "ordinal.studies.methods")}
    task = experiments.ordinal_set(config, studies["set"])["task"]
    left_out = (*NO_RESULT, "threads", "devices")
    return sections(config, ["model", "evaluation.precision"]) | {
        "levels": studies[study],
        "draws": studies["draws"],
        "methods": [
            [
                name,
                {
                    "method": method,
                    "options": {key: value for key, value in options.items() if key != "label"},
                },
            ]
            for name, (method, options) in choices.items()
        ],
        "task": {key: task[key] for key in ("values", "bins", "prompt", "number_prompt")},
        "threads": training["threads"],
        "training": {key: value for key, value in training.items() if key not in left_out}
        | ({"steps": studies["steps"]} if studies["steps"] else {}),
    }


def study_table_settings(config: Config, study: str) -> Config:
    """What the table of a study follows from, beside its predictions."""
    studies = config["ordinal"]["studies"]
    rows = methods(config)
    return {
        "levels": studies[study],
        "labels": [[name, rows[name].label] for name in _chosen(config, "ordinal.studies.methods")],
        "task": experiments.ordinal_set(config, studies["set"])["task"],
        "scale": config["scale"],
    }


def cost_settings(config: Config) -> Config:
    """What the table of costs follows from: every method but the constant, which costs nothing."""
    name = config["ordinal"]["studies"]["set"]
    rows = []
    for method, row in methods(config).items():
        base, options = _choice(config, method)
        if base != "constant":
            differ = {key: value for key, value in options.items() if key != "label"}
            rows.append([method, {"method": base, "options": differ, "label": row.label}])
    task = experiments.ordinal_set(config, name)["task"]
    return sections(config, ["model"]) | {
        "methods": rows,
        "task": {key: task[key] for key in ("values", "bins", "prompt", "number_prompt")},
        "threads": config["evaluation"]["threads"],
        "scale": config["scale"],
    }
