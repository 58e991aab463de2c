"""The plan of a run: its jobs, their causes, and their approximate cost."""

import ast
import csv
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from countclip.runtime.provenance import leaves
from countclip.runtime.resources import resource
from countclip.settings import counting_sets, gpus, laion

PUBLISHED_ROWS = 12_933_524
"""Rows of part-00000 of LAION-400M; the other 31 parts have about as many."""


@dataclass(frozen=True)
class Job:
    """One job of the workflow, as Snakemake plans it.

    params, recorded: the parameters that Snakemake compares, of today and of the last run, each as
        its repr; `recorded` is None if the job never ran. missing: whether an output is missing.
    is_direct: whether it runs for a cause of itself, not only because an earlier job runs.
    """

    rule: str
    params: list[str]
    recorded: list[str] | None
    missing: bool
    is_direct: bool


@dataclass(frozen=True)
class Cost:
    """The cost of one job of a rule; `source` tells where it was measured."""

    seconds: float
    megabytes: float
    source: str


def report(jobs: list[Job], config: dict[str, Any], costs: Path, defaults: Path) -> str:
    """The plan as text.

    costs: folder with the costs of earlier jobs (results/costs/<scale>). defaults:
        resources/costs.csv, for rules that have not run here yet.
    """
    amounts = expected_amounts(config)
    lines = [f"# Plan of the main job, scale: {config['scale']}\n", "## What is expected\n"]
    lines += [f"{name:>32}  {amount:>14,.0f}" for name, amount in amounts.items()]
    if not jobs:
        return "\n".join([*lines, "\nNothing to be done: all results are up to date.\n"])
    prices = job_costs(config, costs, defaults)
    head = ("jobs", "hours", "GPU hours", "GB of disk", "from")
    lines += ["\n## What would run\n", _row("rule", *head)]
    sums = [0.0, 0.0, 0.0, 0.0]
    for rule, count in sorted(Counter(job.rule for job in jobs).items()):
        cost = prices.get(rule)
        if cost is None:
            lines.append(_row(rule, f"{count:,}", "-", "-", "-", "seconds"))
            continue
        hours, disk = count * cost.seconds / 3600, count * cost.megabytes / 1000
        numbers = [count, *((0.0, hours) if gpus.of_rule(config, rule) else (hours, 0.0)), disk]
        sums = [total + number for total, number in zip(sums, numbers, strict=True)]
        shown = [f"{count:,}", *(f"{number:,.2f}" if number else "-" for number in numbers[1:])]
        lines.append(_row(rule, *shown, cost.source))
    lines.append(_row("all", f"{len(jobs):,}", *(f"{number:,.2f}" for number in sums[1:]), ""))
    lines.append("\nHours are sums over jobs; divide by the number of jobs that run in parallel.")
    return "\n".join([*lines, "\n## Why\n", *causes(jobs), ""])


def _row(rule: str, *cells: str) -> str:
    *numbers, source = cells
    return f"{rule:24}" + "".join(f"{number:>12}" for number in numbers) + f"  {source}"


def expected_amounts(config: dict[str, Any]) -> dict[str, float]:
    """Expected amounts of a config, from rows to steps (name -> amount).

    Outside the miniature they follow from published figures: the caption rule selects 1.5 % of
    LAION's rows; 78 % of its links were alive late in 2023; 2,102 pairs remained of 2,000,000 rows.
    Local files are counted, and so are the lines of images that somebody counted, each of which
    may be a pair. If `non_counting_per_counting` is null, four are assumed.
    """
    parts = len(config["laion"]["parts"])
    miniature, counted = config["miniature"], _counted_rows(config)
    if config["network"] == "miniature":
        rows = miniature["rows"] / miniature["parts"] * parts
        captions = rows * (miniature["counting_share"] + miniature["lying_share"])
        alive = 0.9
        pairs = rows * miniature["counting_share"] * alive
    else:
        rows = _local_rows(config) or parts * PUBLISHED_ROWS
        captions, alive, pairs = rows * 0.0147, 0.78, rows * 2102 / 2e6
    if not counting_sets.needs_laion(config):
        rows, captions, pairs = counted, 0, counted
    most = config["counting_set"]["max_per_number"]
    pairs = min(pairs, sum(most)) if most else pairs
    others = config["counting_set"]["non_counting_per_counting"]
    training = config["training"]
    variants = [name for name, settings in config["variants"].items() if settings is not None]
    links = captions * (1 + config["captions"]["non_counting_ratio"])
    steps = training["steps"] or pairs / training["counting_per_batch"] * training["epochs"]
    return {
        "parts": parts,
        "rows": rows,
        "captions with a number": captions,
        "links to fetch": links,
        "images": links * alive,
        "images to detect in": captions * alive,
        "images of counted sets": counted,
        "counting pairs of a set": pairs,
        "pairs to pack": pairs * (1 + (4 if others is None else others)),
        "variants": len(variants),
        "seeds": len(config["seeds"]),
        "runs": len(variants) * len(config["seeds"]),
        "steps a run": steps,
        "benchmark rows": 540,
    }


def _counted_rows(config: dict[str, Any]) -> int:
    """Rows of the counting sets whose images somebody counted, as far as that is quickly known."""
    rows = 0
    for name in counting_sets.counted(config):
        settings = counting_sets.set_source(config, name)
        path = Path(resource(settings["path"]))
        if settings["source"] == "folder" and path.is_file():
            with open(path, "rb") as lines:
                rows += max(sum(1 for _ in lines) - 1, 0)
        elif settings["source"] == "pixmo_count" and path.is_file():
            import pyarrow.parquet as pq

            rows += pq.read_metadata(path).num_rows
    return rows


def _local_rows(config: dict[str, Any]) -> int:
    """Rows of local files (source: local), as far as they exist."""
    section = config["laion"]
    if section["source"] != "local" or not section["folder"]:
        return 0
    import pyarrow.parquet as pq  # only needed for local files

    files = laion.local_files({"laion": section | {"manifest": None}})
    return sum(pq.read_metadata(file).num_rows for file in files)


def job_costs(config: dict[str, Any], costs: Path, defaults: Path) -> dict[str, Cost]:
    """Rule -> cost of a job: the default, with the seconds of earlier jobs where there are some.

    costs, defaults: as in `report`.
    """
    scale = "miniature" if config["scale"] == "miniature" else "paper"  # also for parts of it
    prices = default_costs(defaults, scale, expected_amounts(config))
    for rule, (seconds, source) in measured_costs(costs).items():
        default = prices.get(rule, Cost(0.0, 0.0, ""))  # disk is not measured
        prices[rule] = replace(default, seconds=seconds, source=source)
    return prices


def default_costs(path: Path, scale: str, amounts: dict[str, float]) -> dict[str, Cost]:
    """Rule -> default cost of a job at a scale: a constant plus an amount per unit."""
    prices = {}
    with open(path, encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["scale"] != scale:
                continue
            units = amounts[line["unit"]] if line["unit"] else 0
            units /= amounts["parts"] if line["by_part"] == "yes" else 1
            prices[line["rule"]] = Cost(
                float(line["seconds"]) + float(line["seconds_a_unit"]) * units,
                float(line["megabytes"]) + float(line["megabytes_a_unit"]) * units,
                line["source"],
            )
    return prices


def measured_costs(folder: Path) -> dict[str, tuple[float, str]]:
    """Rule -> mean seconds and number (a text) of its jobs, from Snakemake's `benchmark` files."""
    seconds = defaultdict(list)
    for file in sorted(folder.rglob("*.tsv")):
        rule = file.relative_to(folder).parts[0].removesuffix(".tsv")
        with open(file, encoding="utf-8", newline="") as lines:
            seconds[rule] += [float(line["s"]) for line in csv.DictReader(lines, delimiter="\t")]
    return {
        rule: (sum(times) / len(times), f"{len(times)} jobs here")
        for rule, times in seconds.items()
        if times
    }


def causes(jobs: list[Job]) -> list[str]:
    """Each cause of a rerun, such as a key with its old and new value, and its rules."""
    rules_of = defaultdict(Counter)
    for job in jobs:
        for cause in reasons(job):
            rules_of[cause][job.rule] += 1
    return [
        f"{cause}\n    {', '.join(f'{rule} ({count})' for rule, count in sorted(rules.items()))}"
        for cause, rules in rules_of.items()
    ]


def reasons(job: Job) -> list[str]:
    """The causes of one job; for one that only follows an earlier job, just that."""
    if job.missing:
        return ["its results are not there yet"]
    if not job.is_direct:
        return ["an earlier job runs"]
    if job.recorded is None:
        return ["nothing is recorded of its last run"]
    old, new = _facts(job.recorded), _facts(job.params)
    return [
        f"{name}: {old.get(name, '(none)')} -> {new.get(name, '(none)')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ] or ["its inputs are newer, others, or unfinished"]


def _facts(params: list[str]) -> dict[str, str]:
    """The params of a job (workflow/rules) as name -> value: config keys, digests, the rest."""
    values = [ast.literal_eval(param) for param in params]
    texts = [text for value in values for text in (value if isinstance(value, tuple) else [value])]
    facts, others = {}, []
    for text in map(str, texts):
        if text.startswith('{"'):
            for key, value in leaves(json.loads(text)).items():
                facts[".".join(key)] = json.dumps(value, ensure_ascii=False)
        elif file := re.fullmatch("(.+) ([0-9a-f]{8})", text):
            facts[f"{file[1]} changed"] = file[2]
        elif "\t" in text:
            facts["its line of the manifest"] = text.replace("\t", " ")
        elif text not in ("", "{}"):
            others.append(text)
    return facts | ({"another parameter": ", ".join(others)} if others else {})
