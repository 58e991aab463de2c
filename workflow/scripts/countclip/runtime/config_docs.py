"""What does each key of the config mean? config/README.md, written from the schema.

`make docs` calls it; a test holds the file to the schema.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from countclip.runtime.files import write_text
from countclip.runtime.resources import HOME

MANUAL = HOME / "config/README.md"
SCHEMA = HOME / "workflow/schemas/config.schema.yaml"
HEAD = """\
# The manual of the config

`config.yaml` is the default, the miniature. For a run of your own write what differs into a file
and add `--configfile that.yaml`: it is laid over the default. Every key is checked before anything
runs, and unknown ones are refused. Small numbers need a point (`1.0e-5`): YAML takes `1e-5` for a
text. Changing a key reruns only the stages that use it.

A path that begins with `resources/` belongs to the workflow; others are seen from the folder that
the workflow runs in.

Written from `workflow/schemas/config.schema.yaml` by `make docs`.
"""


def main() -> None:
    write_text(manual(), MANUAL)


def manual() -> str:
    """The page: a section for each section of the config, a row for each key."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    default = yaml.safe_load((HOME / "config/config.yaml").read_text(encoding="utf-8"))
    pages = [HEAD]
    single = {name: below for name, below in schema["properties"].items() if not _nested(below)}
    pages.append("\n" + _table(_rows({"properties": single}, default, ())))
    for name, below in schema["properties"].items():
        if name not in single:
            pages.append(f"\n## {name}\n")
            if "description" in below:
                pages.append(f"\n{below['description']}\n")
            if rows := list(_rows(_own(below, schema), default[name], ())):
                pages.append(f"\n{_table(rows)}")
    return "".join(pages)


def _own(section: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A section without the keys that its entries share with another one, which explains them:
    those of a variant with `training`, those of a counting set with `counting_set`."""
    entry = section.get("additionalProperties")
    if not entry:
        return section
    sections = schema["properties"].values()
    shared = [item for other in sections for item in other.get("properties", {}).items()]
    own = dict(item for item in entry["properties"].items() if item not in shared)
    return {**section, "additionalProperties": {**entry, "properties": own}}


def _nested(schema: dict[str, Any]) -> bool:
    return "properties" in schema or isinstance(schema.get("additionalProperties"), dict)


def _rows(schema: dict[str, Any], default: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Key, values allowed, default, meaning; the keys of `<name>` stand for any name."""
    below = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        below["<name>"] = schema["additionalProperties"]
    for name, inner in below.items():
        key = f"`{'.'.join((*path, name))}`"
        value = default.get(name)
        shown = f"`{_short(value)}`" if name in default else ""
        meaning = inner.get("description", "")
        if not _nested(inner):
            yield key, _allowed(inner), shown, meaning
            continue
        if meaning:
            null = value is None and name in default
            yield key, "the keys below" + ", or null" * null, shown * null, meaning
        yield from _rows(inner, value or {}, (*path, name))


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return _choice(schema["enum"])
    kinds = schema.get("type", "")
    words = [kinds] if isinstance(kinds, str) else list(kinds)
    if "array" in words:
        values = schema["items"].get("enum", ())
        words[words.index("array")] = "list" + " of " * bool(values) + _choice(values)
    bounds = {
        "minimum": "≥ {}",
        "exclusiveMinimum": "> {}",
        "maximum": "≤ {}",
        "exclusiveMaximum": "< {}",
    }
    limits = [text.format(schema[name]) for name, text in bounds.items() if name in schema]
    return ", ".join([" or ".join(words), *limits])


def _choice(values: Iterable[Any]) -> str:
    return ", ".join(f"`{_short(value)}`" for value in values)


def _short(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    head = [("key", "values", "default", "meaning"), ("---",) * 4]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [*head, *rows])


if __name__ == "__main__":
    main()
