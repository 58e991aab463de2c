"""Config files as a person writes them: keys that would be lost, overlays, wrong values.

Every job of a cluster reads them again, so this uses the standard library and PyYAML alone.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from countclip.runtime.provenance import leaves
from countclip.runtime.resources import HOME
from countclip.settings.common import ConfigError

DEFAULTS = tuple(
    HOME / "config" / name
    for name in ("config.yaml", "ordinal.yaml", "soft_labels.yaml", "reading.yaml")
)
"""The files that hold the default of every key, each of sections of its own."""


def load(path: Path) -> Any:
    """Load a YAML file of this project: by libyaml, ten times as fast, where PyYAML has it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)


def default() -> dict[str, Any]:
    """The default config, of all DEFAULTS."""
    return {key: value for file in DEFAULTS for key, value in load(file).items()}


def refuse_repeated_keys(path: str | Path) -> None:
    """Raise ConfigError if a key stands twice in one section; YAML's readers drop the first."""
    with open(path, encoding="utf-8-sig") as file:
        try:
            document = yaml.compose(file, Loader=yaml.SafeLoader)
            repeated = list(_repeated_keys(document, "", set()))
        except yaml.YAMLError:
            file.seek(0)
            repeated = _repeated_in_json(file.read())  # with tabs it is no YAML
        except UnicodeDecodeError:
            return  # Snakemake says so
    if repeated:
        raise ConfigError(
            f"{path}: " + "; ".join(repeated) + ". Only the last one would count: put all below one"
        )


def _repeated_in_json(text: str) -> list[str]:
    """The keys that stand twice in a section of a JSON text; none of another text."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        for name in dict.fromkeys(names):
            if (times := names.count(name)) > 1:
                repeated.append(f"{name} stands {times} times in one section")

    try:
        json.loads(text, object_pairs_hook=note)
    except (json.JSONDecodeError, RecursionError):
        return []  # Snakemake says so
    return repeated


def _repeated_keys(node: yaml.Node | None, section: str, seen: set[int]) -> Iterator[str]:
    if node is None or id(node) in seen:  # an alias leads to a node again
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, section, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, list[int]] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            lines.setdefault(name, []).append(key.start_mark.line + 1)
            yield from _repeated_keys(value, f"{section}{name}.", seen)
        for name, places in lines.items():
            if len(places) > 1 and name != "?":
                yield f"{section}{name} stands in lines {' and '.join(map(str, places))}"


def summary(overlays: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """The line that says which files make up the config, and how many keys each lays over it."""
    *first, last = (f"config/{file.name}" for file in DEFAULTS)
    defaults = f"{', '.join(first)} and {last}"
    if not overlays:
        return f"Config: {defaults} alone"
    laid = [f"{name} ({_keys(len(leaves(values)) if values else 0)})" for name, values in overlays]
    return f"Config: {defaults}; laid over them, in this order: {', '.join(laid)}"


def _keys(number: int) -> str:
    return "1 key" if number == 1 else f"{number} keys"


def dropped_files(arguments: Sequence[str]) -> list[str]:
    """Files of all `--configfile` but the last, which alone Snakemake reads."""
    groups: list[list[str]] = []
    is_open = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in ("--configfile", "--configfiles"):
            groups.append([value] if equals else [])
            is_open = not equals
        elif argument.startswith("-"):
            is_open = False
        elif is_open:
            groups[-1].append(argument)
    return [file for group in groups[:-1] for file in group]


def refuse_text_nulls(arguments: dict[str, Any]) -> None:
    """Raise ConfigError for a null in `--config`, which Snakemake hands on as a text."""
    for path, value in leaves(arguments).items():
        if isinstance(value, str) and value.strip() in ("null", "Null", "NULL", "~"):
            raise ConfigError(f"{'.'.join(path)}: {advice(path, value, arguments)}")


def _meant(text: str) -> Any:
    for read in (int, float, yaml.safe_load):
        try:
            return read(text)
        except (ValueError, yaml.YAMLError):
            continue
    return text


def advice(path: Sequence[str | int], value: Any, arguments: dict[str, Any]) -> str:
    """What to do about a text where the config wants a number, a boolean or null; '' for others.

    arguments: the values of `--config`.
    """
    meant = _meant(value) if isinstance(value, str) and value.strip() else value
    if meant == value:
        return ""
    example: Any = meant
    in_list = next((n for n, key in enumerate(path) if isinstance(key, int)), len(path))
    listed: Any = arguments
    for key in path[:in_list]:
        listed = listed.get(key) if isinstance(listed, dict) else None
    if isinstance(listed, list):  # all of it, or a reader would write one item
        example = [_meant(item) if isinstance(item, str) else item for item in listed]
    for key in reversed(path[:in_list] if isinstance(listed, list) else path):
        example = [example] if isinstance(key, int) else {key: example}
    text = yaml.safe_dump(example, default_flow_style=True, width=1000).strip()
    written = text[1:-1]
    if path[0] not in arguments:
        return f"{value!r} is read as a text; write it as\n    {written}"
    return (
        f"{value!r} came as a text, as all does that stands inside a value of --config; write a "
        f"file with\n    {written}\nand name it: --configfile that.yaml"
    )


def complaint(wrong: Any) -> str:
    """What is wrong with a value or an id of the config, and for some errors what to do.

    wrong: jsonschema's ValidationError. YAML takes some words for a number, a date or yes and no.
    """
    rule, value = wrong.validator_value, wrong.instance
    is_id = "propertyNames" in wrong.absolute_schema_path
    if is_id and wrong.validator == "pattern":
        return f"{wrong.message}; an id has letters, digits and _, and is no reserved word"
    if wrong.validator == "maxLength":
        return f"{value[:40]!r}... has {len(value)} characters, of at most {rule}; shorten it"
    may_be_text = (wrong.validator == "type" and "string" in rule) or (
        wrong.validator == "enum" and any(isinstance(choice, str) for choice in rule)
    )
    if is_id and value is None:
        return 'YAML takes null, ~ and nothing for no value, and an id is meant: quote it, "null"'
    if may_be_text and value is None:
        return (
            "YAML takes nothing, ~ and null for no value, and a text is meant: write it in quotes"
        )
    if not may_be_text or isinstance(value, str | dict | list):
        return wrong.message
    if isinstance(value, bool):
        return f'YAML takes yes, on or no, off for {value}, and a text is meant: quote it, as "no"'
    kind = "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"
    text = re.sub(r"\W", "_", str(value)) if is_id else value  # such as 2024_05_01
    is_number = isinstance(value, int) and not is_id  # such as 00012 or 0x1f
    written = ", or as it stands there" if is_number else ""
    return f'YAML takes {value} for {kind}, and a text is meant: quote it, "{text}"{written}'
