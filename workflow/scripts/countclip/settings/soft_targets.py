"""Soft targets of variants: which have them, and the files that say what captions name."""

from countclip.settings import experiments, variants
from countclip.settings.common import Config, ConfigError

TARGET_KEYS = ("clip_target", "soft_alpha", "soft_power", "soft_mask", "soft_objects")
"""Keys of `training` that decide the targets of CLIP's loss."""
LEXICONS = tuple(
    f"resources/objects/{name}" for name in ("wordnet_nouns.csv", "tags.csv", "words.yaml")
)
"""Files that decide which objects a caption names."""


def is_soft(settings: Config) -> bool:
    """Whether the targets of a training are soft, by its settings."""
    return settings.get("clip_target", "hard") != "hard"


def soft_variants(config: Config) -> list[str]:
    """Ids of the variants that are trained on soft targets."""
    return [
        name
        for name in variants.trained(config)
        if is_soft(variants.variant_settings(config, name))
    ]


def target_lexicons(config: Config, variant: str) -> tuple[str, ...]:
    """The lexicons that a variant's targets depend on."""
    settings = variants.variant_settings(config, variant)
    by_parser = settings["soft_objects"] == "parser"
    return LEXICONS if by_parser and settings["clip_target"].startswith("objects") else ()


def listed_objects(config: Config, variant: str) -> list[str]:
    """The files of objects by a language model that a variant's targets are made of, if any."""
    settings = variants.variant_settings(config, variant)
    if settings["soft_objects"] != "llm" or not settings["clip_target"].startswith("objects"):
        return []
    if not experiments.llm_sets(config):
        raise ConfigError(
            f"variant {variant}: soft_objects: llm needs answers to its captions: list the caption"
            " sets counting and non_counting as soft_labels.llm.sets"
        )
    return [
        f"results/soft_labels/{name}/llm_captions.parquet" for name in experiments.llm_sets(config)
    ]
