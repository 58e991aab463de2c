"""Settings of soft labels as the rules read them, from the section `soft_labels` of the config.

Pure functions of the standard library alone, as those of runtime/config.py.
"""

from pathlib import Path

from countclip.runtime.config import Config, candidates, caption_set, caption_sets, llm_sets
from countclip.runtime.resources import resource

UNITS = ("concrete", "nouns", "phrases")
"""Those of the parser, data/objects.py; another is a language model's, `llm`."""


def caption_file(config: Config, name: str) -> str | None:
    """The file that a user's set is, or that is missing; None for a folder."""
    path = resource(caption_set(config, name)["path"])
    return None if Path(path).is_dir() else path


def captions(config: Config, name: str) -> list[str]:
    """The files that a caption set is read from, as inputs; none for a folder."""
    if not caption_set(config, name)["path"]:
        return candidates(config)
    return [file for file in [caption_file(config, name)] if file]


def set_settings(config: Config, name: str) -> Config:
    """What the counts of a caption set follow from, beside the content of its files."""
    return {key: caption_set(config, name)[key] for key in ("path", "column", "rows")}


def labels(config: Config) -> dict[str, str]:
    """Caption set -> its name in tables, in the config's order."""
    return {name: caption_set(config, name)["label"] for name in caption_sets(config)}


def units(config: Config, name: str) -> list[str]:
    """The definitions of an object by which a caption set is counted."""
    return [*UNITS, *(["llm"] if name in llm_sets(config) else [])]


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
