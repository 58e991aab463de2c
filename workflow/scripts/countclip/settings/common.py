"""What all settings share: the error of a config, and the entries below its keys.

The files of this room are pure functions of the nested config, its defaults laid under what a
variant or a set says. Snakemake parses them in every job of a cluster, so they need nothing but the
standard library. A config that contradicts itself raises ConfigError, before anything runs.
"""

import functools
import operator
import unicodedata
from typing import Any

Config = dict[str, Any]
NO_RESULT = ("checkpoint_minutes", "loggers")
"""Keys of `training` that change no result."""


class ConfigError(ValueError):
    """A key of the config that names nothing, or contradicts another; the message names the key."""


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
