"""Settings of soft labels as the rules read them, from the section `soft_labels` of the config.

Pure functions of the standard library alone, as those of runtime/config.py.
"""

from pathlib import Path

from countclip.runtime.config import Config, caption_set, caption_sets
from countclip.runtime.resources import resource

LEXICONS = (
    "resources/objects/wordnet_nouns.csv",
    "resources/objects/tags.csv",
    "resources/objects/words.yaml",
)
"""Files that decide which objects a caption names."""


def caption_file(config: Config, name: str) -> str | None:
    """The file that a user's set is, or that is missing; None for a folder."""
    path = resource(caption_set(config, name)["path"])
    return None if Path(path).is_dir() else path


def set_settings(config: Config, name: str) -> Config:
    """What the counts of a caption set follow from, beside the content of its files."""
    return {key: caption_set(config, name)[key] for key in ("path", "column", "rows")}


def labels(config: Config) -> dict[str, str]:
    """Caption set -> its name in tables, in the config's order."""
    return {name: caption_set(config, name)["label"] for name in caption_sets(config)}
