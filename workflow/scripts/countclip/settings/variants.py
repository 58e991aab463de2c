"""Variants: which are trained, with which settings, and which one others are compared with."""

from countclip.settings.common import (
    NO_RESULT,
    Config,
    ConfigError,
    active,
    entry,
    refuse_equal_labels,
    value_at,
)


def trained(config: Config) -> list[str]:
    """Ids of the variants that are trained."""
    return active(config, "variants")


def keep_only(config: Config) -> None:
    """Leave out, in place, the variants that `only` does not list; null lists all.

    ConfigError for an id that no variant has, or that an overlay sets to null.
    """
    listed = config["only"]
    if listed is None:
        return
    for name in listed:
        if name not in trained(config):
            why = "is set to null there" if name in config["variants"] else "is not there"
            known = ", ".join(trained(config)) or "none"
            raise ConfigError(f"only: {name} {why}; variants has {known}")
    for name in config["variants"]:
        if name not in listed:
            config["variants"][name] = None


def refuse_labels(config: Config) -> None:
    """Raise ConfigError for labels that show nothing, or that two variants have."""
    labels = {name: config["variants"][name]["label"] for name in trained(config)}
    refuse_equal_labels("variants", labels)


def variant_settings(config: Config, variant: str) -> Config:
    """The keys of `training`, with the variant's laid over them."""
    return config["training"] | entry(config, "variants", variant)


def training_settings(config: Config, variant: str) -> Config:
    """The keys that decide the result of a training on its counting set; not the label."""
    others = ("label", "counting_set", "model", *NO_RESULT)
    settings = variant_settings(config, variant)
    return {key: value for key, value in settings.items() if key not in others}


def chosen(config: Config, key: str) -> list[str]:
    """The variants that a key such as `wise_ft.variants` lists, without those that are left out."""
    if unknown := sorted(set(value_at(config, key)) - set(config["variants"])):
        raise ConfigError(f"{key}: no such variants: {', '.join(unknown)}")
    return [name for name in value_at(config, key) if name in trained(config)]


def reference(config: Config) -> str | None:
    """The variant that the others are compared with; None where it is not trained."""
    name = config["reference"]
    if name is not None and name not in config["variants"]:
        known = ", ".join(trained(config))
        raise ConfigError(f"reference: there is no variant {name!r}; variants has {known}")
    return name if name in trained(config) else None
