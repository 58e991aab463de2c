"""Settings of soft labels as the rules read them, from the section `soft_labels` of the config.

Pure functions of the standard library alone, as those of the room `settings`.
"""

from pathlib import Path

from countclip.runtime.provenance import sections
from countclip.runtime.resources import is_result, resource
from countclip.settings import counting_sets, experiments
from countclip.settings.common import (
    NO_RESULT,
    Config,
    ConfigError,
    active,
    entry,
    refuse_equal_labels,
)
from countclip.settings.user_files import on_disk

UNITS = ("concrete", "nouns", "phrases")
"""Those of the parser, data/objects.py; another is a language model's, `llm`."""


def caption_set(config: Config, name: str) -> Config:
    """The settings of a set of captions, with the defaults of what it does not set."""
    default = {"path": None, "column": None, "rows": "all"}
    return on_disk(default | entry(config, "soft_labels.caption_sets", name), "path")


def captions(config: Config, name: str) -> list[str]:
    """The files that a caption set is read from, also a missing one; none for a folder."""
    path = caption_set(config, name)["path"]
    if not path:
        return counting_sets.candidates(config)
    found = resource(path)
    return [] if Path(found).is_dir() else [found]


def set_settings(config: Config, name: str) -> Config:
    """What the counts of a caption set follow from, beside the content of its files."""
    return {key: caption_set(config, name)[key] for key in ("path", "column", "rows")}


def labels(config: Config) -> dict[str, str]:
    """Caption set -> its name in tables, in the config's order."""
    return {name: caption_set(config, name)["label"] for name in experiments.caption_sets(config)}


def units(config: Config, name: str) -> list[str]:
    """The definitions of an object by which a caption set is counted."""
    return [*UNITS, *(["llm"] if name in experiments.llm_sets(config) else [])]


def llm_settings(config: Config, name: str) -> Config:
    """What a model's objects of a caption set follow from, beside the content of its files."""
    llm = config["soft_labels"]["llm"]
    return {
        "captions": set_settings(config, name),
        "question": {key: llm[key] for key in ("model", "parameters")},
        "max_captions": llm["max_captions"],
    }


def endpoint(config: Config) -> Config:
    """Where the model is asked, and how hard to try."""
    keys = ("base_url", "key_variable", "timeout", "retries", "parallel")
    return {key: config["soft_labels"]["llm"][key] for key in keys}


# ---- pretraining under hard and soft targets ----

TARGET = {"clip_target": "hard", "soft_alpha": 0.5, "soft_power": 1.0, "soft_mask": "none"}
"""Settings of a target that a row of the config leaves out."""
TRAINING = "results/soft_labels/training/{net}/{target}/{texts}/seed{seed}"
"""texts: `captions`, or `mixed` with labels and descriptions."""


def check(config: Config) -> None:
    """Raise ConfigError for rows that two labels hide, or that a net names and nobody has."""
    refuse_equal_labels("soft_labels.pretraining.targets", _labels(config, "targets"))
    refuse_equal_labels("soft_labels.pretraining.nets", _labels(config, "nets"))
    known = config["soft_labels"]["pretraining"]["targets"]
    for net in experiments.pretraining_nets(config):
        if unknown := sorted(set(_net(config, net)["targets"] or []) - set(known)):
            raise ConfigError(
                f"soft_labels.pretraining.nets.{net}.targets: there is no {', '.join(unknown)};"
                f" there are {', '.join(known)}"
            )
    domains = config["soft_labels"]["pretraining"]["domains"]
    if domains["made"]:
        if domains["net"] not in experiments.pretraining_nets(config):
            raise ConfigError(
                f"soft_labels.pretraining.domains.net: there is no net {domains['net']!r}; there"
                f" are {', '.join(experiments.pretraining_nets(config))}"
            )
        if unknown := sorted({*domains["targets"]} - {*_labels(config, "targets")}):
            raise ConfigError(
                f"soft_labels.pretraining.domains.targets: there is no {', '.join(unknown)}"
            )


def _labels(config: Config, key: str) -> dict[str, str]:
    rows = config["soft_labels"]["pretraining"][key]
    return {name: rows[name]["label"] for name in rows if rows[name] is not None}


def _net(config: Config, net: str) -> Config:
    return entry(config, "soft_labels.pretraining.nets", net)


def targets_of(config: Config, net: str) -> list[str]:
    """Ids of the targets that a net is trained under, in the config's order."""
    chosen = _net(config, net)["targets"]
    every = active(config, "soft_labels.pretraining.targets")
    return [name for name in every if chosen is None or name in chosen]


def target_settings(config: Config, target: str) -> Config:
    """The keys of `TargetSettings` that a row of the table has."""
    row = TARGET | entry(config, "soft_labels.pretraining.targets", target)
    return {key: row[key] for key in TARGET}


def net_model(config: Config, net: str) -> Config:
    """Name and config of a net's `Clip`."""
    return {key: _net(config, net)[key] for key in ("name", "config")}


def net_files(config: Config, net: str) -> list[str]:
    """The files that describe a net, where open_clip does not know it by itself."""
    name, path = net_model(config, net).values()
    if path is None:
        return []
    merges = str(Path(path).with_name(f"{name}.merges.txt.gz"))
    return [path, *([merges] if Path(resource(merges)).exists() else [])]


def sticker_digests(folder: str) -> list[str]:
    """The digests of the miniature's stickers; of a user's folder, a param has them."""
    return ["results/miniature/stickers/digests.tsv"] if is_result(folder) else []


def pair_settings(config: Config) -> Config:
    """What the packed pairs follow from, beside the content of the shards."""
    pretraining = config["soft_labels"]["pretraining"]
    return pretraining["pairs"] | {"image_size": pretraining["image_size"]}


def test_settings(config: Config) -> Config:
    """What the packed test images follow from, beside the content of their folder."""
    pretraining = config["soft_labels"]["pretraining"]
    test = {key: pretraining["test"][key] for key in ("source", "folder")}
    return test | {"image_size": pretraining["image_size"]}


def pretraining_settings(config: Config, net: str, target: str, texts: str = "captions") -> Config:
    """What a training follows from, beside its seed and the pairs."""
    shares = config["soft_labels"]["pretraining"]["domains"]["shares"]
    training = config["soft_labels"]["pretraining"]["training"]
    training = {key: value for key, value in training.items() if key not in NO_RESULT}
    return {
        "model": net_model(config, net),
        "target": target_settings(config, target),
        "training": training | {"steps": _net(config, net)["steps"]},
    } | ({"shares": shares} if texts == "mixed" else {})


def trainings(config: Config, net: str, file: str) -> list[str]:
    """A file of each training of a net: target by target, seed by seed."""
    return [
        f"{TRAINING}/{file}".format(net=net, target=target, texts="captions", seed=seed)
        for target in targets_of(config, net)
        for seed in _net(config, net)["seeds"]
    ]


def classification_settings(config: Config, net: str) -> Config:
    """What a net's answers follow from, beside its weights and the test images."""
    model = net_model(config, net) if net in experiments.pretraining_nets(config) else None
    return sections(config, ["evaluation.precision", "evaluation.threads"]) | {"model": model}


def table_settings(config: Config) -> Config:
    """What the table follows from, beside answers, histories and counts."""
    nets = {name: _net(config, name) for name in experiments.pretraining_nets(config)}
    used = {target for name in nets for target in targets_of(config, name)}
    labels = _labels(config, "targets")
    return {
        "nets": [
            [name, {"label": net["label"], "steps": net["steps"],
                    "targets": targets_of(config, name)}]
            for name, net in nets.items()
        ],
        "targets": [
            [name, {"label": label, **target_settings(config, name)}]
            for name, label in labels.items() if name in used
        ],
        "scale": config["scale"],
    }  # fmt: skip


# ---- text domains ----


def _domains(config: Config) -> Config:
    return config["soft_labels"]["pretraining"]["domains"]


def class_table(texts: str) -> list[str]:
    """The table of classes, for trainings on texts that name them."""
    return ["results/soft_labels/zero_shot/classes.csv"] if texts == "mixed" else []


def descriptions(config: Config, texts: str = "mixed") -> list[str]:
    """The file of descriptions, for trainings on mixed texts, and prompts."""
    return [_domains(config)["descriptions"]] if texts == "mixed" else []


def domain_files(config: Config) -> list[str]:
    """The files that describe the net of the table of domains; none of one that is left out."""
    net = _domains(config)["net"]
    return net_files(config, net) if net in experiments.pretraining_nets(config) else []


def domain_weights(config: Config) -> list[str]:
    """Weights of the table of domains, trained on captions and on mixed texts."""
    domains = _domains(config)
    return [
        f"{TRAINING}/weights.safetensors".format(
            net=domains["net"], target=target, texts=texts, seed=seed
        )
        for target in domains["targets"]
        for texts in ("captions", "mixed")
        for seed in domains["seeds"]
    ]


def domain_table_settings(config: Config) -> Config:
    """What the table of domains follows from, beside the answers."""
    labels = _labels(config, "targets")
    domains = _domains(config)
    return {
        "labels": [[name, labels[name]] for name in domains["targets"] if name in labels],
        "shares": domains["shares"],
        "scale": config["scale"],
    }
