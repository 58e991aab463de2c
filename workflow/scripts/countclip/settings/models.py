"""Base models: which one a variant has, its files, and the packing of images."""

from pathlib import Path

from countclip.runtime.files import read_json
from countclip.runtime.resources import resource
from countclip.settings import variants
from countclip.settings.common import Config, ConfigError, active, entry

BASELINE = "baseline"
"""Id of the first model where it stands among the variants; of others it is `baseline-<id>`, which
no variant can have."""


def set_default(config: Config) -> None:
    """Put the first of `models` into `model`, in place, where there are any.

    So what knows one model alone takes the first. ConfigError for one without weights to begin
    with, and for a variant that no model is there for.
    """
    for name in active(config, "models"):
        config["models"][name].setdefault("config", None)
    if first := next(iter(active(config, "models")), None):
        config["model"] = config["models"][first]
    for variant in variants.trained(config):
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


def is_tag(pretrained: str) -> bool:
    """Whether weights are named by a tag of open_clip, and not by their file."""
    return not (pretrained.endswith(".safetensors") or len(Path(pretrained).parts) > 1)


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


def packed_for(config: Config, path: str, variant: str) -> str:
    """Where images are packed for a variant's model: at `path` for the first, else in its folder.

    path: such as results/training/images/main.npy; another model's is main/<id>.npy there.
    """
    if baseline_of(config, variant) == BASELINE:
        return path
    place = Path(path)
    return str(place.with_suffix("") / f"{model_id(config, variant)}{place.suffix}")


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
