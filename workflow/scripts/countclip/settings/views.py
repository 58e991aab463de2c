"""What tables and figures of variants follow from, as specs of their rules."""

from typing import Any

from countclip.settings import counting_sets, models, variants
from countclip.settings.common import Config, ConfigError, value_at


def variant_rows(config: Config, *keys: str, by: str | None = None) -> list[Config]:
    """Id, label and `keys` of each variant for a table or figure, in the config's order.

    by: the key that lists the variants; an empty list there, or None, means all.
    """
    if by in ("retrieval.variants", "relevancy.variants"):
        listed = of_first_model(config, by.partition(".")[0])
    else:
        listed = (
            variants.chosen(config, by) if by and value_at(config, by) else variants.trained(config)
        )
    several = bool(models.baselines(config))
    return [
        {"id": name, "label": config["variants"][name]["label"]}
        | ({"baseline": models.baseline_of(config, name)} if several else {})
        | {key: variants.training_settings(config, name)[key] for key in keys}
        for name in listed
    ]


def of_first_model(config: Config, section: str) -> list[str]:
    """The variants that a section lists (none means all), which measures the first model alone.

    ConfigError for a listed one of another model.
    """
    key = f"{section}.variants"
    listed = variants.chosen(config, key)
    others = [name for name in listed if models.baseline_of(config, name) != models.BASELINE]
    if others:
        raise ConfigError(
            f"{key}: {', '.join(others)}: trained from another model than the first of models,"
            f" which {section} compares with; list variants of that one alone"
        )
    return listed or [
        v for v in variants.trained(config) if models.baseline_of(config, v) == models.BASELINE
    ]


def view_settings(config: Config, section: str, *keys: str, **more: Any) -> Config:
    """What a table or figure of CountBench follows from, as its spec.

    That is: the variants that the section lists, those of its keys that decide what is shown, the
    rows that are counted, and `more`.
    """
    settings = value_at(config, section)
    rows = models.with_baselines(config) if section.startswith("figures.confusion") else {}
    return rows | {
        "benchmark": config["countbench"]["variant"],
        "variants": variant_rows(config, by=f"{section}.variants"),
        "scale": config["scale"],
        **{key: settings[key] for key in keys},
        **more,
    }


def ablation_settings(config: Config) -> Config:
    """All that each variant's training follows from, the reference, and the rows that count."""
    if variants.reference(config) is None:
        raise ConfigError(
            "results/ablations.csv needs a variant to compare the others with: name one that is "
            "trained as `reference`"
        )
    settings = {
        name: variants.training_settings(config, name)
        | {"counting_set": counting_sets.of_variant(config, name)}
        | ({"model": models.model_id(config, name)} if models.baselines(config) else {})
        for name in variants.trained(config)
    }
    return {
        "settings": settings,
        "reference": variants.reference(config),
        "benchmark": config["countbench"]["variant"],
    }
