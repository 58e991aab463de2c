"""The manual of the config, config/README.md, written from the schema by `make docs`."""

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from countclip.runtime.files import write_text
from countclip.runtime.resources import HOME
from countclip.settings import config_files

MANUAL = HOME / "config/README.md"
SCHEMA = HOME / "workflow/schemas/config.schema.yaml"
FIRST_KEYS = (
    *("scale", "network", "seeds", "variants", "laion.source", "laion.parts", "fetch.connections"),
    *("detector.weights", "detector.device", "counting_set.class_rule", "countbench.variant"),
    *("countbench.repairs", "benchmarks", "model.pretrained", "training.epochs"),
    *("training.learning_rate", "training.micro_batch", "training.accelerator"),
    *("evaluation.accelerator", "retention.tasks"),
)
"""The keys that people change most, on the first page of the manual."""
HEAD = """\
# The manual of the config

`config.yaml` is the default, the miniature. `ordinal.yaml`, `soft_labels.yaml` and `reading.yaml`
are its parts on these experiments. For another run, write what differs into a file and add
`--configfile that.yaml`. It is laid over the default, and several files over each other in order.

- Every key is checked before anything runs, and unknown keys are refused.
- Small numbers need a point: YAML reads `1e-5` as a text, `1.0e-5` as a number.
- A changed key reruns only the stages that use it ([reruns](../docs/reference/reruns.md)).
- A path that begins with `resources/` belongs to the workflow. All others are relative to the
  folder that the workflow runs in.

`config/paper.yaml`, `config/paiss.yaml` and `config/textvqa.yaml` are such files, with a reason
beside each choice. This page is written from `workflow/schemas/config.schema.yaml` by `make docs`.

## First page: the keys that people change most
"""


def main() -> None:
    write_text(manual(), MANUAL)


def manual() -> str:
    """The page: an index, the first keys, then a table for each section of the config."""
    schema = config_files.load(SCHEMA)
    default = config_files.default()
    single = {name: below for name, below in schema["properties"].items() if not _nested(below)}
    nested = {name: below for name, below in schema["properties"].items() if name not in single}
    made = [name for name in nested if name.startswith("miniature")]
    measured = list(nested)[list(nested).index("evaluation") :]
    measured = [name for name in measured if name not in made]
    others = ("single keys", *(name for name in nested if name not in (*made, *measured)))
    index, of_measured, of_miniature = (
        ", ".join(f"[{n}](#{n})" for n in names) for names in (others, measured, made)
    )
    pages = [
        f"{HEAD}\n",
        _table(_first_rows(schema, default), ("key", "default", "meaning")),
        "\n## All keys\n\n",
        f"{index.replace('(#single keys)', '(#single-keys)')}.\n\n",
        f"Of what is measured: {of_measured}.\n\n",
        f"Of the miniature: {of_miniature}.\n",
        "\n## single keys\n\n",
        _table(_rows({"properties": single}, default, ())),
    ]
    for name, below in nested.items():
        pages.append(f"\n## {name}\n")
        if "description" in below:
            pages.append(f"\n{below['description']}\n")
        if rows := list(_rows(_unshared(below, schema), default[name], ())):
            pages.append(f"\n{_table(rows)}")
    return "".join(pages)


def _first_rows(schema: dict[str, Any], default: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Key, default and meaning of FIRST_KEYS; the key leads to its section."""
    for key in FIRST_KEYS:
        inner, value = schema, default
        for part in key.split("."):
            inner, value = inner["properties"][part], value[part]
        section = key.split(".")[0] if _nested(schema["properties"][key.split(".")[0]]) else ""
        shown = "" if _nested(inner) else f"`{_short(value)}`"
        yield f"[`{key}`](#{section or 'single-keys'})", shown, inner["description"]


def _unshared(section: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A section without the keys that its entries share with another, which has their rows.

    A variant shares those of `training`, a counting set those of `counting_set`.
    """
    entry = section.get("additionalProperties")
    if not entry:
        return section
    sections = schema["properties"].values()
    shared = [item for other in sections for item in other.get("properties", {}).items()]
    unshared = dict(item for item in entry["properties"].items() if item not in shared)
    return {**section, "additionalProperties": {**entry, "properties": unshared}}


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


def _table(
    rows: Iterable[tuple[str, ...]],
    headers: tuple[str, ...] = ("key", "values", "default", "meaning"),
) -> str:
    head = [headers, ("---",) * len(headers)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [*head, *rows])


if __name__ == "__main__":
    main()
