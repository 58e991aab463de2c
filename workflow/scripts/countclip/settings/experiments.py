"""Parts of the experiments that a run makes, for results, paths and counting.

All else that an experiment's rules read is in experiments/<name>/settings.py.
"""

from countclip.settings.common import Config, ConfigError, active, entry
from countclip.settings.user_files import on_disk


def ordinal_sets(config: Config) -> list[str]:
    """Ids of the sets of ordinal regression."""
    return active(config, "ordinal.sets")


def ordinal_set(config: Config, name: str) -> Config:
    """The settings of one of them, with the defaults of what it does not set."""
    default = {"follow_links": False, "published": None, "deviations": []}
    return on_disk(default | entry(config, "ordinal.sets", name), "csv", "images")


def embedded_sets(config: Config) -> list[str]:
    """Ids of the sets whose embeddings figures show: all, if a method is chosen for that."""
    chosen = set(config["ordinal"]["embeddings"]) & set(active(config, "ordinal.methods"))
    return ordinal_sets(config) if chosen else []


def ordinal_studies(config: Config) -> list[str]:
    """The studies of ordinal regression that are made, but that of cost."""
    return [name for name in config["ordinal"]["studies"]["made"] if name != "cost"]


def reading_is_made(config: Config) -> bool:
    """Whether there are questions to read the answers of."""
    return config["reading"]["source"] != "none"


def reading_words(config: Config) -> bool:
    """Whether single words are read too."""
    return reading_is_made(config) and config["reading"]["words"]["csv"] is not None


def reading_crops(config: Config) -> bool:
    """Whether parts of images are asked too."""
    return reading_is_made(config) and bool(config["reading"]["crops"]["views"])


def pretraining_nets(config: Config) -> list[str]:
    """Ids of the nets that are pretrained with hard and soft labels."""
    return active(config, "soft_labels.pretraining.nets")


def has_domains(config: Config) -> bool:
    """Whether a run makes the table of text domains."""
    return config["soft_labels"]["pretraining"]["domains"]["made"]


def caption_sets(config: Config) -> list[str]:
    """Ids of the sets of captions whose objects are counted."""
    return active(config, "soft_labels.caption_sets")


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
