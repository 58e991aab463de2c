"""Exactly what a change touches runs again: every key of the config, every module of ours."""

import functools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from countclip.runtime import provenance
from countclip.settings import config_files

from .conftest import DEFAULT, HOME, KEPT, TINY, dry_runs, merged

TABLE = config_files.load(Path(__file__).parent / "reruns.yaml")
SCHEMA = config_files.load(HOME / "workflow/schemas/config.schema.yaml")
MINIATURE = HOME / "resources/miniature"
NOW = merged(DEFAULT, TINY)
# One that stands for all names under such a key, and the section that it takes the rest from.
FOR_EXAMPLE = {
    "variants": (KEPT[1], "training"),
    "counting_sets": ("main", "counting_set"),
    "benchmarks": ("own", None),
    "models": ("main", None),
    "zero_shot.models": ("tiny", None),
    "figures.confusion": ("figure3", None),
    "retention.tasks": ("things", None),
    "ordinal.sets": ("people", None),
    "soft_labels.caption_sets": ("counting", None),
    "soft_labels.pretraining.nets": ("small", None),
    "soft_labels.pretraining.targets": ("objects", None),
    "ordinal.methods": ("numclip_exp", None),
}


def leaves(schema: dict, key: str = ""):
    """Every key of the schema that has a value, a section that may be null too, with its schema."""
    below = {f"{key}.{name}": inner for name, inner in schema.get("properties", {}).items()}
    if isinstance(schema.get("additionalProperties"), dict):
        below[f"{key}.<name>"] = schema["additionalProperties"]
    if not below or "null" in schema.get("type", "") and not key.endswith("<name>"):
        yield key.lstrip("."), schema
        return
    for name, inner in below.items():
        yield from leaves(inner, name)


KEYS = dict(leaves(SCHEMA))


def place(key: str) -> tuple[list[str], Any]:
    """Where an overlay sets a key of the schema, and the value that it has now."""
    group, name, own = key.partition(".<name>.")
    if not name:
        return key.split("."), functools.reduce(dict.get, key.split("."), NOW)
    example, common = FOR_EXAMPLE[group]
    values = functools.reduce(dict.get, group.split("."), NOW).get(example, {})
    now = {**(NOW[common] if common else {}), **values}
    return [*group.split("."), example, *own.split(".")], functools.reduce(
        dict.get, own.split("."), now
    )


def another(key: str, schema: dict, now: Any) -> Any:
    """A value that the key does not have now: the table's, or one that follows from the schema."""
    if key in TABLE["values"]:
        return TABLE["values"][key]
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != now)
    if schema.get("type") == "boolean":
        return not now
    if "integer" in schema["type"] or "number" in schema["type"]:  # one type, or a list of them
        nearby = (1, 0.5) if now is None else (now + 1, now - 1, now * 1.5, now / 2, 0.5)
        return next(value for value in nearby if value != now and allowed(value, schema))
    raise AssertionError(f"reruns.yaml: values: {key} needs a value other than {now!r}")


def allowed(value: float, schema: dict) -> bool:
    return (
        (isinstance(value, int) or "number" in schema["type"])
        and schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and value > schema.get("exclusiveMinimum", value - 1)
        and value < schema.get("exclusiveMaximum", value + 1)
    )


def changed(key: str) -> dict:
    """The overlay that changes one key."""
    path, now = place(key)
    value = another(key, KEYS[key], now)
    assert value != now
    overlay = functools.reduce(lambda below, name: {name: below}, reversed(path), value)
    return merged(TABLE["also"].get(key, {}), overlay)


def rules(names: list[str]) -> set[str]:
    """A line of the table as rules: its names are rules, or sets of them."""
    return set().union(
        *(rules(TABLE["sets"][name]) if name in TABLE["sets"] else {name} for name in names)
    )


@pytest.fixture(scope="session")
def reruns(finished) -> dict[str, Any]:
    """What a dry run would run again after each change.

    One change at a time; but those that should rerun nothing come together first: where all of them
    rerun nothing, so does each.
    """
    made = finished.folder / "results/miniature"
    for file in (
        *(made / "laion.tsv", made / "countbench.json", made / "own/benchmark.csv"),
        MINIATURE / "repairs.csv",
    ):
        shutil.copy(file, finished.folder / f"another_{file.name}")
    links = (made / "countbench.json").read_text(encoding="utf-8")
    of_the_internet = links.replace(".miniature.example/", ".example/")
    (finished.folder / "internet_countbench.json").write_text(of_the_internet, encoding="utf-8")
    one = {key: changed(key) for key in KEYS}
    nothing = [key for key in KEYS if TABLE["keys"].get(key) == []]
    together = functools.reduce(merged, (one[key] for key in nothing))
    assert all(merged(together, one[key]) == together for key in nothing)  # none undoes another
    planned = dict.fromkeys(nothing, finished.plans({"together": together}, "together")["together"])
    if any(planned.values()):
        planned = {}
    return planned | finished.plans({key: one[key] for key in KEYS if key not in planned}, "key")


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key_reruns_what_it_touches_and_nothing_else(reruns, key):
    planned = reruns[key]
    assert isinstance(planned, dict), planned[-3000:]
    assert key in TABLE["keys"], f"reruns.yaml needs a line: {key}: {sorted(planned)}"
    assert set(planned) == rules(TABLE["keys"][key])


def test_every_line_of_the_table_is_a_key_of_the_schema():
    assert {*TABLE["keys"], *TABLE["values"], *TABLE["also"]} <= set(KEYS)


def test_an_edited_module_reruns_the_rules_that_reach_it_and_what_follows(finished, tmp_path):
    """Some from every stage, each edited in a checkout of its own."""
    package = finished.home / "workflow/scripts/countclip"
    names = ("data/captions", "training/losses", "settings/config_docs", "runtime/network",
             "runtime/provenance", "report/scores", "../miniature/server")  # fmt: skip
    modules = [(package / f"{name}.py").resolve() for name in names]
    copies = [finished.edited([module], tmp_path / str(n)) for n, module in enumerate(modules)]
    commands = [copy.where({}) for copy in copies]
    planned = dict(zip(modules, dry_runs(commands), strict=True))
    graph = copies[0]("all", "--rulegraph", cores=1)
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', graph))
    after = {name: {name} for name in names.values()}
    edges = [(names[one], names[other]) for one, other in re.findall(r"(\d+) -> (\d+)", graph)]
    for _ in names:  # as often as the longest chain is long
        for one, other in edges:
            after[one] |= after[other]
    for module in modules:
        own = provenance.SCRIPTS / module.relative_to(finished.home / "workflow/scripts")
        reached = [
            rule for rule in after
            if rule != "all" and own in provenance.modules_of(provenance.SCRIPTS / f"{rule}.py")
        ]  # fmt: skip
        expected = set().union(*(after[rule] for rule in reached))
        assert set(planned[module]) == expected, module
    assert set(planned[package / "training/losses.py"]) == rules(["trained", "reading_trained"])
    assert planned[package / "settings/config_docs.py"] == {}
