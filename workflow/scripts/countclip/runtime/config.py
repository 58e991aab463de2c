"""Settings as the rules read them: variants, counting sets, benchmarks, and files they name.

Pure functions of the nested config, with its defaults laid under what a variant or a set says.
Snakemake parses them in every job of a cluster, so they need nothing but the standard library. A
config that contradicts itself raises ConfigError, before anything runs.
"""

import functools
import operator
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from countclip.runtime.csv_files import Columns, read_lines
from countclip.runtime.files import check_name, read_json
from countclip.runtime.folders import stored
from countclip.runtime.resources import name_of, resource

Config = dict[str, Any]

OVER_PAPER = "or lay yours over the paper's: --configfile config/paper.yaml yours.yaml"
"""Advice for a config whose parts are on different networks."""


class ConfigError(ValueError):
    """A key of the config that names nothing, or contradicts another; the message names the key."""


def complaint(wrong: Any) -> str:
    """What is wrong with a value or an id of the config, and for some errors what to do.

    wrong: jsonschema's ValidationError. YAML takes some words for a number, a date or yes and no.
    """
    rule, value = wrong.validator_value, wrong.instance
    is_id = "propertyNames" in wrong.absolute_schema_path
    if is_id and wrong.validator == "pattern":
        return f"{wrong.message}; an id has letters, digits and _, and is no reserved word"
    if wrong.validator == "maxLength":
        return f"{value[:40]!r}... has {len(value)} characters, of at most {rule}; shorten it"
    may_be_text = (wrong.validator == "type" and "string" in rule) or (
        wrong.validator == "enum" and any(isinstance(choice, str) for choice in rule)
    )
    if is_id and value is None:
        return 'YAML takes null, ~ and nothing for no value, and an id is meant: quote it, "null"'
    if may_be_text and value is None:
        return (
            "YAML takes nothing, ~ and null for no value, and a text is meant: write it in quotes"
        )
    if not may_be_text or isinstance(value, str | dict | list):
        return wrong.message
    if isinstance(value, bool):
        return f'YAML takes yes, on or no, off for {value}, and a text is meant: quote it, as "no"'
    kind = "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"
    text = re.sub(r"\W", "_", str(value)) if is_id else value  # such as 2024_05_01
    is_number = isinstance(value, int) and not is_id  # such as 00012 or 0x1f
    written = ", or as it stands there" if is_number else ""
    return f'YAML takes {value} for {kind}, and a text is meant: quote it, "{text}"{written}'


def value_at(config: Config, key: str) -> Any:
    """The value under a key such as `wise_ft.variants`."""
    return functools.reduce(operator.getitem, key.split("."), config)


def active(config: Config, key: str) -> list[str]:
    """Ids under a key, in the config's order, without those that an overlay sets to null."""
    return [name for name, value in value_at(config, key).items() if value is not None]


def entry(config: Config, key: str, name: str) -> Any:
    """The entry `name` under a key; ConfigError names those that there are."""
    if name not in active(config, key):
        known = ", ".join(active(config, key))
        raise ConfigError(f"{key}: there is no {name!r}; there are {known}")
    return value_at(config, key)[name]


# ---- variants ----

NO_RESULT = ("checkpoint_minutes", "loggers")
"""Keys of `training` that change no result."""
ORDINAL = {
    "ordinal_exp": "FCRC, exp",
    "ordinal_logit": "FCRC, logit",
    "ordinal_margin": "FCRC, margin",
    "sord": "SORD",
    "coarse_to_fine": "coarse to fine",
}
"""Each ordinal loss, which is the id of its variant too, and its name in labels."""

TARGET_KEYS = ("clip_target", "soft_alpha", "soft_power", "soft_mask", "soft_objects")
"""Keys of `training` that decide the targets of CLIP's loss."""
SOFT_TARGETS = {
    "hard": ({"clip_target": "hard"}, "hard targets"),
    "objects": ({"clip_target": "objects", "soft_mask": "none"}, "Object-IoU"),
    "masked": ({"clip_target": "objects", "soft_mask": "numbers"}, "Object-IoU, masked"),
    "shuffled": ({"clip_target": "objects_shuffled", "soft_mask": "numbers"}, "shuffled objects"),
}
"""Targets that `soft_variants` compares: id -> their keys, and their name in labels."""
SOFT_BATCHES = {5: 1, 64: 32}
"""Pairs of a batch, the paper's and a larger one -> counting pairs among them."""
SOFT_LOSSES = {"none": ("", ""), "count_plus": ("_plus", ", L_count+")}
"""Counting loss -> what it adds to an id and to a label."""


def add_ordinal_variants(config: Config) -> None:
    """Put the variants that `ordinal_variants` asks for behind the others, in place.

    They differ in their loss alone from scheduler, lambda_modal and L_count+. One that `variants`
    has under the same id, or sets to null, stays as it is there.
    """
    if not config["ordinal_variants"]:
        return
    for loss, name in ORDINAL.items():
        label = f"scheduler and λ_modal and {name}"
        variant = {"label": label, "loss": loss, "lambda_scheme": "modal"}
        config["variants"].setdefault(loss, variant)


def keep_only(config: Config) -> None:
    """Leave out, in place, the variants that `only` does not list; null lists all.

    ConfigError for an id that no variant has, or that an overlay sets to null.
    """
    listed = config["only"]
    if listed is None:
        return
    for name in listed:
        if name not in variants(config):
            why = "is set to null there" if name in config["variants"] else "is not there"
            known = ", ".join(variants(config)) or "none"
            raise ConfigError(f"only: {name} {why}; variants has {known}")
    for name in config["variants"]:
        if name not in listed:
            config["variants"][name] = None


def add_soft_variants(config: Config) -> None:
    """Put the variants that `soft_variants` asks for behind the others, in place.

    Each target of SOFT_TARGETS in each batch of SOFT_BATCHES, without L_count+ and with it; else
    they are as scheduler, lambda_modal and L_count+. The learning rate is that of `training` times
    the root of the ratio of batch sizes, as is usual with Adam. One that `variants` has under the
    same id, or sets to null, stays as it is there. One that is there under another id is not
    trained twice.
    """
    if not config["soft_variants"]:
        return
    usual = config["training"]
    there = [_trained(config, config["variants"][name]) for name in variants(config)]
    for pairs, counting in SOFT_BATCHES.items():
        rate = usual["learning_rate"] * (pairs / usual["batch_size"]) ** 0.5
        for loss, (ending, words) in SOFT_LOSSES.items():
            for target, (keys, name) in SOFT_TARGETS.items():
                variant = {
                    "label": f"{name}, batch of {pairs}{words}",
                    "loss": loss,
                    "lambda_scheme": "modal",
                    "batch_size": pairs,
                    "counting_per_batch": counting,
                    "learning_rate": float(f"{rate:.3g}"),
                    **keys,
                }
                if _trained(config, variant) not in there:
                    config["variants"].setdefault(f"{target}_{pairs}{ending}", variant)


def _trained(config: Config, variant: Config) -> Config:
    """All that the training of an entry of `variants` follows from."""
    settings = config["training"] | variant
    return {key: settings[key] for key in settings if key not in ("label", *NO_RESULT)}


def is_soft(settings: Config) -> bool:
    """Whether the targets of a training are soft, by its settings."""
    return settings.get("clip_target", "hard") != "hard"


def soft_variants(config: Config) -> list[str]:
    """Ids of the variants that are trained on soft targets."""
    return [name for name in variants(config) if is_soft(variant_settings(config, name))]


def variants(config: Config) -> list[str]:
    """Ids of the variants that are trained."""
    return active(config, "variants")


def refuse_labels(config: Config) -> None:
    """Raise ConfigError for labels that show nothing, or that two variants have."""
    labels = {name: config["variants"][name]["label"] for name in variants(config)}
    refuse_equal_labels("variants", labels)


def refuse_equal_labels(key: str, labels: dict[str, str]) -> None:
    """Raise ConfigError for labels (id -> label, below a key) that show nothing or are equal."""
    names: dict[str, str] = {}
    problems = []
    for name, label in labels.items():
        text = unicodedata.normalize("NFKC", label)
        shown = "".join(c for c in " ".join(text.split()) if unicodedata.category(c)[0] != "C")
        if not shown.strip():
            problems.append(f"{key}.{name}.label is empty: write what tables and figures call it")
        elif shown in names:
            problems.append(
                f"{key}.{name}.label: {names[shown]} has {shown!r} too, so nobody could tell"
                " them apart in tables and figures; change one of them"
            )
        names.setdefault(shown, name)
    if problems:
        raise ConfigError("\n".join(problems))


def variant_settings(config: Config, variant: str) -> Config:
    """The keys of `training`, with the variant's laid over them."""
    return config["training"] | entry(config, "variants", variant)


def training_settings(config: Config, variant: str) -> Config:
    """The keys that decide the result of a training on its counting set; not the label."""
    others = ("label", "counting_set", "model", *NO_RESULT)
    settings = variant_settings(config, variant)
    return {key: value for key, value in settings.items() if key not in others}


def chosen_variants(config: Config, key: str) -> list[str]:
    """The variants that a key such as `wise_ft.variants` lists, without those that are left out."""
    if unknown := sorted(set(value_at(config, key)) - set(config["variants"])):
        raise ConfigError(f"{key}: no such variants: {', '.join(unknown)}")
    return [name for name in value_at(config, key) if name in variants(config)]


def variant_rows(config: Config, *keys: str, by: str | None = None) -> list[Config]:
    """Id, label and `keys` of each variant for a table or figure, in the config's order.

    by: the key that lists the variants; an empty list there, or None, means all.
    """
    if by in ("retrieval.variants", "relevancy.variants"):
        listed = of_first_model(config, by.partition(".")[0])
    else:
        listed = chosen_variants(config, by) if by and value_at(config, by) else variants(config)
    several = bool(baselines(config))
    return [
        {"id": name, "label": config["variants"][name]["label"]}
        | ({"baseline": baseline_of(config, name)} if several else {})
        | {key: training_settings(config, name)[key] for key in keys}
        for name in listed
    ]


def reference(config: Config) -> str | None:
    """The variant that the others are compared with; None where it is not trained."""
    name = config["reference"]
    if name is not None and name not in config["variants"]:
        known = ", ".join(variants(config))
        raise ConfigError(f"reference: there is no variant {name!r}; variants has {known}")
    return name if name in variants(config) else None


def view(config: Config, section: str, *keys: str, **more: Any) -> Config:
    """What a table or figure of CountBench follows from, as its spec.

    That is: the variants that the section lists, those of its keys that decide what is shown, the
    rows that are counted, and `more`.
    """
    settings = value_at(config, section)
    rows = with_baselines(config) if section.startswith("figures.confusion") else {}
    return rows | {
        "benchmark": config["countbench"]["variant"],
        "variants": variant_rows(config, by=f"{section}.variants"),
        "scale": config["scale"],
        **{key: settings[key] for key in keys},
        **more,
    }


def ablation_settings(config: Config) -> Config:
    """All that each variant's training follows from, the reference, and the rows that count."""
    if reference(config) is None:
        raise ConfigError(
            "results/ablations.csv needs a variant to compare the others with: name one that is "
            "trained as `reference`"
        )
    settings = {
        name: training_settings(config, name)
        | {"counting_set": counting_set_of(config, name)}
        | ({"model": model_id(config, name)} if baselines(config) else {})
        for name in variants(config)
    }
    return {
        "settings": settings,
        "reference": reference(config),
        "benchmark": config["countbench"]["variant"],
    }


# ---- base models ----

BASELINE = "baseline"
"""Id of the first model where it stands among the variants; of others it is `baseline-<id>`, which
no variant can have."""


def set_default_model(config: Config) -> None:
    """Put the first of `models` into `model`, in place, where there are any.

    So what knows one model alone takes the first. ConfigError for one without weights to begin
    with, and for a variant that no model is there for.
    """
    for name in active(config, "models"):
        config["models"][name].setdefault("config", None)
    if first := next(iter(active(config, "models")), None):
        config["model"] = config["models"][first]
    for variant in variants(config):
        model_id(config, variant)


def model_id(config: Config, variant: str) -> str | None:
    """Id of the model that a variant is trained from, or that a baseline is; None without `models`.

    ConfigError for one that `models` lacks.
    """
    known = active(config, "models")
    named = (
        variant.removeprefix(BASELINE).removeprefix("-") or None
        if is_baseline(variant)
        else entry(config, "variants", variant).get("model")
    )
    if named is None:
        return next(iter(known), None)
    if named not in known:
        raise ConfigError(
            f"variants.{variant}.model: there is no {named!r}; models has"
            f" {', '.join(known) or 'none: name it there'}"
        )
    return named


def model_of(config: Config, variant: str) -> Config:
    """Name, pretrained and config of the model that a variant is trained from, or a baseline is."""
    name = model_id(config, variant)
    return config["model"] if name is None else config["models"][name]


def is_baseline(variant: str) -> bool:
    """Whether an id among those of variants is a pretrained model's."""
    return variant == BASELINE or variant.startswith(f"{BASELINE}-")


def baseline_of(config: Config, variant: str) -> str:
    """Id of the baseline that a variant is compared with: its own model before training."""
    name = model_id(config, variant)
    return BASELINE if name in (None, *active(config, "models")[:1]) else f"{BASELINE}-{name}"


def baselines(config: Config) -> list[Config]:
    """Id and label of each model as a row of tables; empty where there is one alone, whose row is
    always the same."""
    names = active(config, "models")
    if len(names) < 2:
        return []
    ids = [BASELINE, *(f"{BASELINE}-{name}" for name in names[1:])]
    return [
        {"id": row, "label": f"baseline {name}, not fine-tuned"}
        for row, name in zip(ids, names, strict=True)
    ]


def baseline_ids(config: Config) -> list[str]:
    """Ids of the pretrained models among those of variants."""
    return [row["id"] for row in baselines(config)] or [BASELINE]


def with_baselines(config: Config) -> Config:
    """What a table's spec has beside its variants, where there are several models."""
    rows = baselines(config)
    return {"baselines": rows} if rows else {}


def of_first_model(config: Config, section: str) -> list[str]:
    """The variants that a section lists (none means all), which measures the first model alone.

    ConfigError for a listed one of another model.
    """
    key = f"{section}.variants"
    listed = chosen_variants(config, key)
    others = [name for name in listed if baseline_of(config, name) != BASELINE]
    if others:
        raise ConfigError(
            f"{key}: {', '.join(others)}: trained from another model than the first of models,"
            f" which {section} compares with; list variants of that one alone"
        )
    return listed or [v for v in variants(config) if baseline_of(config, v) == BASELINE]


def zero_shot_models(config: Config) -> list[Config]:
    """Id, label, name, pretrained and config of each model that is measured without training."""
    rows = []
    for name in active(config, "zero_shot.models"):
        model = {"config": None} | config["zero_shot"]["models"][name]
        label = f"{model['name']}, {Path(model['pretrained']).name}"
        rows.append({"id": name, "label": label} | model)
    refuse_equal_labels("zero_shot.models", {row["id"]: row["label"] for row in rows})
    return rows


def zero_shot_model(config: Config, name: str) -> Config:
    """Name, pretrained and config of one of them."""
    row = next(row for row in zero_shot_models(config) if row["id"] == name)
    return {key: row[key] for key in ("name", "pretrained", "config")}


def zero_shot_benchmarks(config: Config) -> list[str]:
    """Ids of the benchmarks that they are measured on."""
    return [*(["countbench"] if has_countbench(config) else []), *further_benchmarks(config)]


def zero_shot_weights(config: Config, name: str) -> list[str]:
    """The weights that a model of the list needs from the hub; none where it has a file."""
    if not is_tag(zero_shot_model(config, name)["pretrained"]):
        return []
    if config["network"] == "miniature":
        raise ConfigError(
            f"zero_shot.models.{name}: its weights are on the internet, and network is miniature;"
            f" name a .safetensors file of yours as pretrained, {OVER_PAPER}"
        )
    return [f"results/weights/zero_shot/{name}.safetensors"]


def zero_shot_before(config: Config, name: str) -> list[str]:
    """Answers that must be there before a model's weights are downloaded.

    None where all weights stay; else those of the downloaded model before it in the list, whose
    weights are deleted by then.
    """
    fetched = [
        row["id"] for row in zero_shot_models(config) if zero_shot_weights(config, row["id"])
    ]
    place = fetched.index(name)
    if config["zero_shot"]["keep_weights"] or not place:
        return []
    return [
        f"results/zero_shot/{benchmark}/{fetched[place - 1]}.parquet"
        for benchmark in zero_shot_benchmarks(config)
    ]


# ---- counting sets ----


def counting_set_of(config: Config, variant: str) -> str:
    """Id of the counting set that a variant trains on."""
    name = variant_settings(config, variant)["counting_set"]
    if name not in config["counting_sets"]:
        known = ", ".join(config["counting_sets"])
        raise ConfigError(
            f"variant {variant}: counting_set: there is no {name!r}; counting_sets has {known}"
        )
    return name


def counting_sets(config: Config) -> list[str]:
    """Ids of the counting sets that some variant trains on; no other is made."""
    used = {counting_set_of(config, variant) for variant in variants(config)}
    return [name for name in config["counting_sets"] if name in used]


SOURCE = {
    "source": "laion",
    "path": None,
    "images": None,
    "captions": None,
    "caption": "{number} {noun}",
    "sha256": None,
    "follow_links": False,
    "verify": None,
}
"""Keys of a counting set that are not of `counting_set`, and their defaults."""
COMPOSED = ("from", "compose", "per_number")
"""Keys of a counting set that is composed from another one."""
COCO_NOUNS = "resources/coco_nouns.csv"


def composed_sets(config: Config) -> list[str]:
    """Ids of the counting sets that are trained on and composed from another one."""
    return [name for name in counting_sets(config) if is_composed(config, name)]


def all_composed(config: Config) -> list[str]:
    """Ids of all counting sets that are composed from another one."""
    return [name for name in config["counting_sets"] if is_composed(config, name)]


def is_composed(config: Config, name: str) -> bool:
    """Whether a counting set is composed from another one."""
    return "from" in config["counting_sets"][name]


def assembled_sets(config: Config) -> list[str]:
    """Ids of the counting sets that are assembled: those that are trained on or composed from."""
    return list(dict.fromkeys(origin(config, name) for name in counting_sets(config)))


def origin(config: Config, name: str) -> str:
    """The counting set that one is composed from, or itself.

    ConfigError for one that is not there, that no detector verifies, or that is composed itself.
    """
    settings = config["counting_sets"][name]
    if "from" not in settings:
        if extra := [key for key in COMPOSED if key in settings]:
            raise ConfigError(
                f"counting set {name}: {' and '.join(extra)}: of composed sets alone; say `from`"
                " which counting set it is composed, or leave them out"
            )
        return name
    source = settings["from"]
    if others := sorted(set(settings) - set(COMPOSED)):
        raise ConfigError(
            f"counting set {name}: {' and '.join(others)}: of its pairs, which are those of"
            f" {source!r}: set them there"
        )
    if source not in config["counting_sets"]:
        known = ", ".join(each for each in config["counting_sets"] if each != name)
        raise ConfigError(
            f"counting set {name}: from: there is no {source!r}; counting_sets has {known}"
        )
    if is_composed(config, source):
        raise ConfigError(
            f"counting set {name}: from: {source!r} is composed itself; name the set that it is"
            " composed from"
        )
    if "per_number" not in settings:
        raise ConfigError(f"counting set {name}: needs per_number, the pairs of each number")
    return source


def compose_settings(config: Config, name: str) -> Config:
    """What a composed set follows from: the section `compose`, with the set's keys over it.

    ConfigError where no detector says where the objects are.
    """
    source = origin(config, name)
    settings = set_settings(config, source)
    if settings["class_rule"] == "none":
        raise ConfigError(
            f"counting set {name}: from: no detector looks at the pairs of {source!r}, so nobody"
            " knows where their objects are; set `verify: detector` and a class_rule there"
        )
    given = config["counting_sets"][name]
    return {
        "name": name,
        "compose": config["compose"] | (given.get("compose") or {}),
        "per_number": given["per_number"],
        "counting_set": {
            key: settings[key] for key in ("confidence", "decontaminate", "phash_distance")
        },
        "parts": set_parts(config, source),
    }


def image_manifests(config: Config, name: str) -> list[str]:
    """The manifests of all images of a counting set, composed ones last."""
    composed = [f"results/composed/images/{name}.parquet"] if is_composed(config, name) else []
    if composed and name in set_parts(config, name):
        raise ConfigError(
            f"counting set {name}: a part is called so too; call the composed set otherwise"
        )
    return [*set_files(config, name, "images"), *composed]


def set_settings(config: Config, name: str) -> Config:
    """The keys of `counting_set`, with the set's laid over them; nouns only where they are used.

    A set whose pairs no detector verifies has `class_rule: none`.
    """
    name = origin(config, name)
    given = config["counting_sets"][name]
    settings = config["counting_set"] | {k: v for k, v in given.items() if k not in SOURCE}
    if not _is_verified(config, name):
        settings |= {"class_rule": "none"}
    elif settings["class_rule"] == "none" and "verify" in given:
        raise ConfigError(
            f"counting set {name}: verify is detector, and class_rule none detects nothing; set"
            " another class_rule, or verify: none"
        )
    floor = config["detector"]["confidence_floor"]
    if settings["class_rule"] != "none" and settings["confidence"] < floor:
        raise ConfigError(
            f"counting set {name}: confidence is {settings['confidence']}, but detections are kept "
            f"from detector.confidence_floor, {floor}, on alone; lower that too"
        )
    unused = () if settings["class_rule"] == "caption_noun" else ("nouns",)
    return {key: value for key, value in settings.items() if key not in unused}


def _is_verified(config: Config, name: str) -> bool:
    """Whether a detector verifies a set's pairs, as it does LAION's unless the set says no."""
    settings = SOURCE | config["counting_sets"][name]
    default = "detector" if settings["source"] == "laion" else "none"
    return (settings["verify"] or default) == "detector"


def set_source(config: Config, name: str) -> Config:
    """Where the pairs of a counting set come from: the keys of SOURCE, without `verify`.

    ConfigError for a key that its source does not read, or that it lacks. `nouns` are of COCO's
    classes.
    """
    name = origin(config, name)
    given = config["counting_sets"][name]
    settings = SOURCE | {key: value for key, value in given.items() if key in SOURCE}
    source = settings["source"]
    read = {
        "laion": {"source", "verify"},
        "coco": set(SOURCE),
    }.get(source, set(SOURCE) - {"captions"})
    unread = sorted(key for key in given if key in SOURCE and key not in read)
    if unread:
        raise ConfigError(
            f"counting set {name}: {' and '.join(unread)}: not read of source: {source}; set the"
            " source whose files these are, or leave them out"
        )
    del settings["verify"]
    if source == "laion":
        return settings
    if settings["path"] is None:
        raise ConfigError(f"counting set {name}: source: {source} needs path, its file")
    if source == "coco":
        settings["nouns"] = given.get("nouns", COCO_NOUNS)
    settings = _on_disk(settings, "path", "images", "captions")
    settings["images"] = settings["images"] or str(Path(settings["path"]).parent)
    return settings


def is_of_laion(config: Config, name: str) -> bool:
    """Whether a counting set is made from the parts of LAION."""
    return set_source(config, name)["source"] == "laion"


def counted_sets(config: Config) -> list[str]:
    """Ids of the counting sets that are assembled and whose images somebody counted."""
    return [name for name in assembled_sets(config) if not is_of_laion(config, name)]


def needs_laion(config: Config) -> bool:
    """Whether some counting set is made from the parts of LAION."""
    return any(is_of_laion(config, name) for name in assembled_sets(config))


def set_files(config: Config, name: str, stage: str, ending: str = "parquet") -> list[str]:
    """The files of a stage (candidates, images, detections) that a counting set is made from."""
    if not is_of_laion(config, name):
        return [f"results/counted/{stage}/{origin(config, name)}.{ending}"]
    return [f"results/{stage}/{part}.{ending}" for part in parts(config)]


def candidates(config: Config) -> list[str]:
    """The candidates of all counting sets that are trained on."""
    files = (set_files(config, name, "candidates") for name in assembled_sets(config))
    return list(dict.fromkeys(file for listed in files for file in listed))


def set_parts(config: Config, name: str) -> list[str]:
    """What the files of a counting set are called: LAION's parts, or the set itself."""
    return parts(config) if is_of_laion(config, name) else [origin(config, name)]


def counted_images(config: Config, name: str) -> list[str]:
    """The images that a counting set's CSV lists, to notice one that is replaced."""
    settings = set_source(config, name)
    table = Path(resource(settings["path"]))
    if settings["source"] != "folder" or table.is_relative_to("results"):
        return []
    return files_in_column(table, "image", Path(resource(settings["images"])))


def set_nouns(config: Config, name: str) -> list[str]:
    """The table of nouns that a counting set is made with, if any."""
    settings = set_settings(config, name)
    return [settings["nouns"]] if "nouns" in settings else []


# ---- further benchmarks and retention tasks ----


def further_benchmarks(config: Config) -> list[str]:
    """Ids of the benchmarks beside CountBench."""
    return active(config, "benchmarks")


def has_countbench(config: Config) -> bool:
    """Whether this run measures on CountBench."""
    return config["countbench"]["list"] is not None


def main_benchmark(config: Config) -> str:
    """The benchmark that checkpoints are chosen on and training pairs are kept apart from.

    It is CountBench, or the first of `benchmarks` in a run without it.
    """
    if has_countbench(config):
        return "countbench"
    listed = further_benchmarks(config)
    if not listed:
        raise ConfigError(
            "countbench.list is null, and `benchmarks` has none: name a benchmark of yours, or"
            " CountBench's list"
        )
    return listed[0]


def benchmark_folder(config: Config, name: str) -> str:
    """The folder of a benchmark's table and images."""
    return "results/countbench" if name == "countbench" else f"results/benchmarks/{name}"


def main_table(config: Config) -> str:
    """The table of the main benchmark: Table 1, or that of a further one."""
    if has_countbench(config):
        return "results/table1.csv"
    return f"{benchmark_folder(config, main_benchmark(config))}/table.csv"


def countbench_file(config: Config, name: str) -> list[str] | str:
    """A file of CountBench; none in a run without it."""
    return f"results/countbench/{name}" if has_countbench(config) else []


def other_benchmark(config: Config, name: str) -> list[str] | str:
    """The rows of the main benchmark, for another one's overlap with it."""
    main = main_benchmark(config)
    return [] if main == name else f"{benchmark_folder(config, main)}/benchmark.parquet"


def kept_apart(config: Config, name: str) -> list[str] | str:
    """The rows of the benchmark that a counting set is decontaminated against, if it is."""
    if not set_settings(config, name)["decontaminate"]:
        return []
    return f"{benchmark_folder(config, main_benchmark(config))}/benchmark.parquet"


def benchmark_settings(config: Config, name: str) -> Config:
    """The settings of a further benchmark, with the defaults of what it does not set."""
    default = {
        "images": None,
        "caption": "{number} {noun}",
        "sha256": None,
        "follow_links": False,
    }
    return _on_disk(default | entry(config, "benchmarks", name), "path", "images")


def _on_disk(settings: Config, *keys: str) -> Config:
    """The settings, with paths in the Unicode form that the disk has them in."""
    paths = {key: str(stored(Path(settings[key]))) for key in keys if settings[key] is not None}
    return settings | {key: path for key, path in paths.items() if not path.isascii()}


def retention_tasks(config: Config) -> list[str]:
    """Ids of the retention tasks."""
    return active(config, "retention.tasks")


def retention_source(config: Config, name: str) -> Config:
    """How one retention task is read: everything but its templates."""
    settings = {"follow_links": False} | entry(config, "retention.tasks", name)
    settings = _on_disk(settings, "folder", "annotations")
    return {key: value for key, value in settings.items() if key != "templates"}


def templates(config: Config, *names: str) -> list[str]:
    """The files of templates of some retention tasks; captions need none."""
    paths = (config["retention"]["tasks"][name]["templates"] for name in names)
    return [path for path in paths if path is not None]


def wise_ft_variants(config: Config) -> list[str]:
    """Variants whose interpolated weights are measured, on CountBench and the retention tasks."""
    is_measured = retention_tasks(config) and has_countbench(config)
    return chosen_variants(config, "wise_ft.variants") if is_measured else []


# ---- ordinal sets ----


def ordinal_sets(config: Config) -> list[str]:
    """Ids of the sets of ordinal regression."""
    return active(config, "ordinal.sets")


def ordinal_set(config: Config, name: str) -> Config:
    """The settings of one of them, with the defaults of what it does not set."""
    default = {"follow_links": False, "published": None, "deviations": []}
    return _on_disk(default | entry(config, "ordinal.sets", name), "csv", "images")


def embedded_sets(config: Config) -> list[str]:
    """Ids of the sets whose embeddings figures show: all, if a method is chosen for that."""
    chosen = set(config["ordinal"]["embeddings"]) & set(active(config, "ordinal.methods"))
    return ordinal_sets(config) if chosen else []


def ordinal_studies(config: Config) -> list[str]:
    """The studies of ordinal regression that are made, but that of cost."""
    return [name for name in config["ordinal"]["studies"]["made"] if name != "cost"]


# ---- reading ----


def reading_is_made(config: Config) -> bool:
    """Whether there are questions to read the answers of."""
    return config["reading"]["source"] != "none"


def reading_words(config: Config) -> bool:
    """Whether single words are read too."""
    return reading_is_made(config) and config["reading"]["words"]["csv"] is not None


def reading_crops(config: Config) -> bool:
    """Whether parts of images are asked too."""
    return reading_is_made(config) and bool(config["reading"]["crops"]["views"])


# ---- soft labels ----

LEXICONS = tuple(
    f"resources/objects/{name}" for name in ("wordnet_nouns.csv", "tags.csv", "words.yaml")
)
"""Files that decide which objects a caption names."""


def target_lexicons(config: Config, variant: str) -> tuple[str, ...]:
    """The lexicons that a variant's targets depend on."""
    settings = variant_settings(config, variant)
    by_parser = settings["soft_objects"] == "parser"
    return LEXICONS if by_parser and settings["clip_target"].startswith("objects") else ()


def caption_sets(config: Config) -> list[str]:
    """Ids of the sets of captions whose objects are counted."""
    return active(config, "soft_labels.caption_sets")


def caption_set(config: Config, name: str) -> Config:
    """The settings of one of them, with the defaults of what it does not set."""
    default = {"path": None, "column": None, "rows": "all"}
    return _on_disk(default | entry(config, "soft_labels.caption_sets", name), "path")


def pretraining_nets(config: Config) -> list[str]:
    """Ids of the nets that are pretrained with hard and soft labels."""
    return active(config, "soft_labels.pretraining.nets")


def has_domains(config: Config) -> bool:
    """Whether a run makes the table of text domains."""
    return config["soft_labels"]["pretraining"]["domains"]["made"]


# ---- calibration of the detector ----


def calibration(config: Config) -> Config:
    """What the detections of the calibration follow from: the counted images, and the detector."""
    images = dict(_on_disk(config["calibration"], "path", "images"))
    images["images"] = images["images"] or str(Path(images["path"]).parent)
    images["confidence_floor"] = min(images.pop("confidence"))
    del images["rules"]
    unused = ("download", "threads", "confidence_floor", "iou", "tiles", "exact_near")
    detector = {key: value for key, value in config["detector"].items() if key not in unused}
    return {"calibration": images, "detector": detector}


def calibration_images(config: Config) -> list[str]:
    """The images that the calibration's CSV lists, to notice one that is replaced."""
    images = calibration(config)["calibration"]
    table = Path(resource(images["path"]))
    if table.is_relative_to("results"):
        return []
    return files_in_column(table, "image", Path(resource(images["images"])))


def calibration_nouns(config: Config) -> list[str]:
    """The table of nouns that the calibration reads, if any."""
    is_read = "caption_noun" in config["calibration"]["rules"]
    return [config["counting_set"]["nouns"]] if is_read else []


def calibration_table(config: Config) -> Config:
    """What the table of the calibration follows from, beside the detections."""
    detector, counting = config["detector"], config["counting_set"]
    return {
        "confidence": config["calibration"]["confidence"],
        "rules": config["calibration"]["rules"],
        "nouns": next(iter(calibration_nouns(config)), None),
        "configured": {
            "tiles": detector["tiles"],
            "iou": detector["iou"],
            "confidence": counting["confidence"],
            "rule": counting["class_rule"],
        },
        "scale": config["scale"],
    }


def llm_sets(config: Config) -> list[str]:
    """The caption sets that a language model is asked about; ConfigError without a model."""
    llm = config["soft_labels"]["llm"]
    if unknown := sorted(set(llm["sets"]) - set(config["soft_labels"]["caption_sets"])):
        raise ConfigError(
            f"soft_labels.llm.sets: no such sets: {', '.join(unknown)}; caption_sets has "
            f"{', '.join(caption_sets(config))}"
        )
    for key in ("base_url", "model"):
        if llm["sets"] and llm[key] is None:
            raise ConfigError(f"soft_labels.llm.sets needs soft_labels.llm.{key}: set it")
    return [name for name in caption_sets(config) if name in llm["sets"]]


def listed_objects(config: Config, variant: str) -> list[str]:
    """The files of objects by a language model that a variant's targets are made of, if any."""
    settings = variant_settings(config, variant)
    if settings["soft_objects"] != "llm" or not settings["clip_target"].startswith("objects"):
        return []
    if not llm_sets(config):
        raise ConfigError(
            f"variant {variant}: soft_objects: llm needs answers to its captions: list the caption"
            " sets counting and non_counting as soft_labels.llm.sets"
        )
    return [f"results/soft_labels/{name}/llm_captions.parquet" for name in llm_sets(config)]


# ---- GPUs ----

DEVICES = {
    "detect_objects": "detector.device",
    "detect_in_counted_images": "detector.device",
    "detect_in_composed": "detector.device",
    "detect_in_calibration": "detector.device",
    "evaluate": "evaluation.accelerator",
    "measure_zero_shot": "evaluation.accelerator",
    "measure_retention": "evaluation.accelerator",
    "sweep_wise_ft": "evaluation.accelerator",
    "retrieve": "evaluation.accelerator",
    "measure_relevancy": "evaluation.accelerator",
    "predict_ordinal": "evaluation.accelerator",
    "embed_ordinal": "evaluation.accelerator",
    "run_ordinal_study": "ordinal.training.accelerator",
    "classify_zero_shot": "evaluation.accelerator",
    "classify_domains": "evaluation.accelerator",
    "embed_reading": "evaluation.accelerator",
    "predict_reading_statements": "evaluation.accelerator",
    "read_reading_words": "evaluation.accelerator",
    "look_at_reading_views": "evaluation.accelerator",
    "train_reading": "reading.training.accelerator",
}
"""The key that says where the jobs of a rule run; trainings have an `accelerator` of theirs."""


TRAININGS = {
    "train_variant": "training",
    "train_ordinal": "ordinal.training",
    "pretrain_clip": "soft_labels.pretraining.training",
}
"""The section of each rule of trainings."""


def gpus(config: Config, rule: str, variant: str | None = None) -> int:
    """GPUs that a job of a rule holds; `variant` for a training."""
    if rule in TRAININGS:
        settings = value_at(config, TRAININGS[rule])
        settings = variant_settings(config, variant) if variant else settings
        return 0 if settings["accelerator"] == "cpu" else settings["devices"]
    return int(rule in DEVICES and value_at(config, DEVICES[rule]) != "cpu")


def gpus_by_job(config: Config) -> dict[str, int]:
    """GPUs that jobs hold, by how their names under results/costs/ begin."""
    trainings = {
        f"train_variant/{name}_seed": gpus(config, "train_variant", name)
        for name in variants(config)
    }
    others = (*DEVICES, "train_ordinal", "pretrain_clip")
    return {rule: gpus(config, rule) for rule in others} | trainings


# ---- files that the config names ----


def refuse_folders(config: Config) -> None:
    """Raise ConfigError for a folder where a key means one file, for the reverse, and for no path.

    Of a folder only some file would be read. Nothing is said of what is not there: it may be made.
    """
    for key, path in (*_files(config), *_folders(config)):
        try:
            check_name(path)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from error
        if not path.strip():
            raise ConfigError(f"{key} is an empty text: write a path, or null for none")
    for key, path in _files(config):
        place = Path(resource(path))
        is_openvino = key == "detector.weights" and any(place.glob("*.xml"))  # which is a folder
        if place.exists() and not (place.is_dir() or place.is_file()):  # a pipe is read once
            raise ConfigError(f"{key}: {path} is no regular file: copy what it holds into one")
        if place.is_dir() and not is_openvino:
            held = sorted(file.name for file in place.iterdir() if not file.name.startswith("."))
            shown = ", ".join(held[:3]) + (", ..." if len(held) > 3 else "")
            raise ConfigError(
                f"{key}: {path} is a folder, and one file is meant; name one"
                + (f" of what it holds ({shown}), or join its parts" if held else ": it is empty")
            )
    for key, path in _folders(config):
        if Path(resource(path)).is_file():
            raise ConfigError(f"{key}: {path} is a file, and a folder is meant")


def _files(config: Config) -> Iterator[tuple[str, str]]:
    """Key and path of each file that the config names."""
    pairs = [
        *((f"countbench.{key}", config["countbench"][key])
          for key in ("list", "intersection", "lock", "repairs", "copy")),
        *((f"counting_sets.{name}.{key}", settings.get(key))
          for name, settings in config["counting_sets"].items()
          for key in ("nouns", "path", "captions")),
        *((f"benchmarks.{name}.path", benchmark_settings(config, name)["path"])
          for name in further_benchmarks(config)),
        *((f"retention.tasks.{name}.{key}", config["retention"]["tasks"][name][key])
          for name in retention_tasks(config) for key in ("annotations", "templates")),
        *((f"ordinal.sets.{name}.csv", ordinal_set(config, name)["csv"])
          for name in ordinal_sets(config)),
        *((f"soft_labels.pretraining.nets.{name}.config",
           config["soft_labels"]["pretraining"]["nets"][name]["config"])
          for name in pretraining_nets(config)),
        ("soft_labels.pretraining.domains.descriptions",
         config["soft_labels"]["pretraining"]["domains"]["descriptions"]),
        ("soft_labels.pretraining.test.templates",
         config["soft_labels"]["pretraining"]["test"]["templates"]),
        ("laion.manifest", config["laion"]["manifest"]),
        ("counting_set.nouns", config["counting_set"]["nouns"]),
        ("calibration.path", config["calibration"]["path"]),
        ("detector.weights", config["detector"]["weights"]),
        *((f"reading.splits.{name}.{key}", path)
          for name, split in config["reading"]["splits"].items() for key, path in split.items()
          if key == "ocr" or config["reading"]["source"] == "json"),
        ("reading.manifest", config["reading"]["manifest"]),
        ("reading.words.csv", config["reading"]["words"]["csv"]),
        *((f"{key}.config", model.get("config")) for key, model in _models(config)),
        *((f"{key}.pretrained", model["pretrained"]) for key, model in _models(config)
          if not is_tag(model["pretrained"])),
    ]  # fmt: skip
    return ((key, path) for key, path in pairs if path is not None)


def _models(config: Config) -> list[tuple[str, Config]]:
    """Key and settings of each model that the config names."""
    several = [
        (f"{section}.{name}", value_at(config, section)[name])
        for section in ("models", "zero_shot.models")
        for name in active(config, section)
    ]
    several.append(("reading.model", config["reading"]["model"]))
    return several if active(config, "models") else [("model", config["model"]), *several]


def is_tag(pretrained: str) -> bool:
    """Whether weights are named by a tag of open_clip, and not by their file."""
    return not (pretrained.endswith(".safetensors") or len(Path(pretrained).parts) > 1)


def _folders(config: Config) -> Iterator[tuple[str, str]]:
    """Key and path of each folder that the config names."""
    pairs = [
        ("laion.folder", config["laion"]["folder"]),
        ("laion.images", config["laion"]["images"]),
        ("calibration.images", config["calibration"]["images"]),
        *((f"counting_sets.{name}.images", settings.get("images"))
          for name, settings in config["counting_sets"].items()),
        *((f"benchmarks.{name}.images", benchmark_settings(config, name)["images"])
          for name in further_benchmarks(config)),
        *((f"retention.tasks.{name}.folder", config["retention"]["tasks"][name]["folder"])
          for name in retention_tasks(config)),
        *((f"ordinal.sets.{name}.images", ordinal_set(config, name)["images"])
          for name in ordinal_sets(config)),
        *((f"soft_labels.pretraining.{name}.folder",
           config["soft_labels"]["pretraining"][name]["folder"]) for name in ("pairs", "test")),
        *((f"reading.splits.{name}.questions", split["questions"])
          for name, split in config["reading"]["splits"].items()
          if config["reading"]["source"] == "parquet"),
        ("reading.images", config["reading"]["images"]),
        ("reading.words.images", config["reading"]["words"]["images"]),
    ]  # fmt: skip
    return ((key, path) for key, path in pairs if path is not None)


def detector_weights(config: Config) -> str:
    """The detector's weights as it reads them: as the config names them, or exported once."""
    detector = config["detector"]
    if detector["export"] is None:
        return detector["weights"]
    return f"results/weights/exported/{Path(detector['weights']).stem}.{detector['export']}"


def packing(model: Config) -> Config:
    """What decides how images are packed for a model, as a spec.

    A model's own JSON says it: then its name does not count, nor do its weights. Of a model that
    open_clip knows the spec is its name, and the tag of its weights.
    """
    try:
        described = read_json(resource(model["config"])) if model["config"] else {}
        whole = described if "model_cfg" in described else {"model_cfg": described}
        size = whole["model_cfg"]["vision_cfg"].get("image_size", 224)
        keys = ("resize_mode", "interpolation", "fill_color")
        said = whole.get("preprocess_cfg") or {}
        return {"preprocessing": {"size": size} | {k: said[k] for k in keys if k in said}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # the rule reports it
    tag = model["pretrained"] if is_tag(model["pretrained"]) else None
    return {"model": model | {"pretrained": tag}}


def model_configs(config: Config, variant: str = BASELINE) -> list[str]:
    """The file that describes a variant's model, where open_clip does not know it by itself."""
    return configs_of_model(model_of(config, variant))


def model_files(config: Config, variant: str = BASELINE) -> list[str]:
    """The files that a variant's pretrained model is read from; a tag such as `openai` is none."""
    return files_of_model(model_of(config, variant))


def configs_of_model(model: Config) -> list[str]:
    """The file that describes a model, where open_clip does not know it by itself."""
    return [] if model["config"] is None else [model["config"]]


def files_of_model(model: Config) -> list[str]:
    """The files that a model is read from: its JSON, its weights, its vocabulary."""
    name, pretrained = model["name"], model["pretrained"]
    configs = configs_of_model(model)
    files = list(configs)
    if pretrained.endswith(".safetensors"):
        files.append(pretrained)
    for path in configs:
        merges = str(Path(path).with_name(f"{name}.merges.txt.gz"))
        files += [merges] if Path(resource(merges)).exists() else []
    return files


def packed_for(config: Config, path: str, variant: str) -> str:
    """Where images are packed for a variant's model: at `path` for the first, else in its folder.

    path: such as results/training/images/main.npy; another model's is main/<id>.npy there.
    """
    if baseline_of(config, variant) == BASELINE:
        return path
    place = Path(path)
    return str(place.with_suffix("") / f"{model_id(config, variant)}{place.suffix}")


def lock(config: Config) -> list[str] | str:
    """The lock file of the benchmark's links, where a person keeps one."""
    path = config["countbench"]["lock"]
    return [] if path is None else resource(path)


def intersection(config: Config) -> list[str] | str:
    """The list of rows that are counted, where the benchmark's variant says so."""
    if config["countbench"]["variant"] != "intersection":
        return []
    path = config["countbench"]["intersection"]
    if path is None:
        raise ConfigError(
            "countbench.variant is `intersection`: countbench.intersection must name its list"
        )
    return resource(path)


def repair_images(config: Config) -> list[str]:
    """The images that repairs.csv names: another image under an old name is another repair."""
    repairs = Path(resource(config["countbench"]["repairs"]))
    return files_in_column(repairs, "file", repairs.parent)


def listed_images(config: Config, name: str) -> list[str]:
    """The images that the table of a further benchmark lists, to notice one that is replaced.

    None of a table that a rule makes: it is not there yet when this is first called.
    """
    settings = benchmark_settings(config, name)
    table = Path(resource(settings["path"]))
    if table.is_relative_to("results"):
        return []
    folder = Path(resource(settings["images"] or str(table.parent)))
    return files_in_column(table, "image", folder)


def files_in_column(table: Path, column: str, folder: Path) -> list[str]:
    """The files in a folder that a column of a user's CSV names; none where there is no CSV.

    What cannot be read, or lies elsewhere, is for the rule to report with its line.
    """
    names = {line[column] for line in _lines(table, Columns((column,), files=(column,)))}
    files = (stored(folder / name) for name in names)
    top = os.path.abspath(folder)
    return sorted(
        str(file)
        for file in files
        if os.path.isfile(file) and Path(os.path.abspath(file)).is_relative_to(top)
    )


def _lines(table: str | Path, columns: Columns) -> Iterator[dict[str, str]]:
    """The lines of a person's table, without wrong ones: its rule reports these."""
    try:
        yield from (fields for _, fields in read_lines(table, columns, []))
    except (OSError, ValueError):
        return


def parts(config: Config) -> list[str]:
    """The parts as results name them; the config may name a file as it is (`Küche 2024`)."""
    listed = config["laion"]["parts"]
    names = [name_of(part) for part in listed]
    if clash := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"laion.parts: {' and '.join(p for p in listed if name_of(p) in clash)} would both be"
            f" {clash[0]} in the paths of results; rename a file"
        )
    return names


def local_files(config: Config) -> list[str]:
    """A user's Parquet files that make_manifest hashes: those that begin with a part's name."""
    laion = config["laion"]
    if laion["source"] != "local" or laion["manifest"] is not None:
        return []
    if laion["folder"] is None:
        raise ConfigError("laion.source: local needs laion.folder, where your files are")
    files = sorted(stored(Path(laion["folder"])).glob("*.parquet"))
    found = set()
    for part in laion["parts"]:
        exact = [file for file in files if _composed(file.stem) == _composed(part)]
        name = name_of(part)
        found.update(exact or [file for file in files if name_of(file.name).startswith(name)])
    return sorted(map(str, found))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def countbench_list(config: Config) -> str:
    """CountBench's list; ConfigError in a run without it."""
    path = config["countbench"]["list"]
    if path is None:
        raise ConfigError(
            "countbench.list is null, so this run has no CountBench and nothing that is measured on"
            " it, such as Table 1: name its list, or ask for results/benchmarks/<id>/table.csv"
        )
    return resource(path)


def benchmark_list(config: Config) -> str:
    """CountBench's list, whose links are checked on the config's network."""
    path = countbench_list(config)
    if config["network"] == "internet" and Path(path).is_relative_to("results/miniature"):
        raise ConfigError(
            f"countbench.list: the links of {path} are on the miniature's network alone, and "
            f"network is internet; name another list, {OVER_PAPER}"
        )
    return resource(path)


def manifest(config: Config) -> str:
    """The table of LAION's parts: a person's, the miniature's, or what make_manifest lists."""
    path, source = config["laion"]["manifest"], config["laion"]["source"]
    # A user's files may be copies of the miniature's parts.
    if config["network"] == "miniature" and source not in ("miniature", "local"):
        raise ConfigError(
            f"laion.source: {source} is on the internet, and network is miniature; set network: "
            f"internet and a countbench.list of yours, {OVER_PAPER}"
        )
    if path is not None:
        return resource(path)
    if source != "miniature":
        return "results/laion/manifest.tsv"
    if config["network"] != "miniature":
        raise ConfigError(
            "laion.source: the miniature's parts are on the miniature's network alone; name "
            f"another source, set network: miniature, {OVER_PAPER}"
        )
    return "results/miniature/laion.tsv"


def manifest_line(config: Config, part: str) -> str:
    """The line of one part in a person's manifest, so that adding another part reruns nothing.

    Empty for a manifest that a rule makes, which counts as a whole.
    """
    path = config["laion"]["manifest"]
    if path is None:
        return ""
    lines = _lines(resource(path), Columns(("part",), separator="\t"))
    return next(("\t".join(line.values()) for line in lines if line["part"] == part), "")


def world(config: Config) -> list[str] | str:
    """The table of the miniature's web, where it stands for the internet; no input elsewhere."""
    return "results/miniature/world.parquet" if config["network"] == "miniature" else []


# ---- results that the config asks for ----


def runs(config: Config, pattern: str, only: Iterable[str] | None = None) -> list[str]:
    """A path for every variant (or those of `only`) and seed: {variant} and {seed} filled in."""
    listed = variants(config) if only is None else only
    return [
        pattern.replace("{variant}", variant).replace("{seed}", str(seed))
        for variant in listed
        for seed in config["seeds"]
    ]


def final_weights(config: Config, section: str) -> list[str]:
    """The weights at the end of training of the variants that a section lists."""
    listed = [row["id"] for row in variant_rows(config, by=f"{section}.variants")]
    return runs(config, "results/training/{variant}/seed{seed}/end.safetensors", listed)


def predictions(config: Config, benchmark: str = "countbench") -> list[str]:
    """The predictions on a benchmark of the pretrained baseline and of every run."""
    folder = f"results/evaluation/{benchmark}"
    return [
        *(f"{folder}/{name}/seed0/predictions.parquet" for name in baseline_ids(config)),
        *runs(config, f"{folder}/{{variant}}/seed{{seed}}/predictions.parquet"),
    ]


def retention_answers(config: Config) -> list[str]:
    """The answers of the pretrained baseline and of every run in each retention task."""
    return [
        path
        for name in retention_tasks(config)
        for path in (
            *(f"results/retention/{name}/{row}/seed0.parquet" for row in baseline_ids(config)),
            *runs(config, f"results/retention/{name}/{{variant}}/seed{{seed}}.parquet"),
        )
    ]
