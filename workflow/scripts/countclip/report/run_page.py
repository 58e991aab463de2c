"""The report: one page over all results of a run, their origin and their cost.

Everything on it follows from its inputs, except three things that are read when the page is made:
the config, the versions of the packages and the costs of the jobs.
"""

import base64
import json
import logging
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from countclip.benchmarks import countbench, custom
from countclip.data.number_words import WORDS
from countclip.report import main_result, pages, scores
from countclip.report.sheets import Cell, Sheet, read_sheets
from countclip.runtime.files import write_text
from countclip.runtime.provenance import canonical, leaves
from countclip.settings import config_files
from countclip.settings.results import SECTIONS, id_of, patterns_of, place_of, section_of

log = logging.getLogger(__name__)

LARGEST = 3_000_000
"""Bytes of an image that the page holds; of a larger one it says where it lies."""
LONGEST = 200
"""Rows of a table that the page shows."""
FOLDED = 40
"""Rows from which on a table is folded away under its title."""


STEPS = {
    "filter": "a caption that names a number",
    "download": "image downloaded",
    "detect": "as many objects detected as the caption says",
    "duplicates": "no duplicate of a pair or image",
    "cap": "within the cap of its number",
    "sample": "drawn for the sample",
    "read": "image readable",
    "benchmark": "not in the benchmark",
    "split": "no near duplicate across training and held-out pairs",
    "sources": "fit to be composed from",
    "compose": "composed, and no duplicate of an image of benchmark or held-out pairs",
}
"""The steps of a counting set's funnel, as what they require of a row."""
PACKAGES = (
    *("snakemake", "torch", "torchvision", "open_clip_torch", "lightning-fabric", "safetensors"),
    *("ultralytics-opencv-headless", "openvino", "onnxruntime", "img2dataset", "numpy", "pandas"),
    *("polars", "pyarrow", "pillow", "scipy", "statsmodels", "matplotlib"),
)


@dataclass
class Table:
    """A table of the page; `folded`: away under its title."""

    sheet: Sheet
    folded: bool = False


@dataclass
class Figure:
    """A figure's file, and its image as a data URI (empty where it is too large to be shown)."""

    path: str
    source: str

    @property
    def alt(self) -> str:
        return Path(self.path).stem.replace("_", " ")


@dataclass
class Section:
    """A section of the page: tables and figures from top to bottom, each figure after its table."""

    id: str
    title: str
    intro: str = ""
    parts: list[Table | Figure] = field(default_factory=list)


def render_report(
    *,
    table1_csv: str,
    results: list[str],
    funnels: list[str],
    audit_summary: str | None,
    benchmark_summaries: list[str],
    models: list[str],
    audit_page: str | None,
    template: str,
    page: str,
    scale: str,
    gpus: dict[str, int],
    costs: str,
    config: dict[str, Any],
) -> None:
    """Publish the page of a run.

    table1_csv: Table 1, or the same table of the main benchmark in a run without CountBench, which
        has no audit either.
    results: the tables and figures of this run in all their forms (settings/results.py). The page
        shows the JSON of a table (sheets.write_sheets) and links to its other forms.
    funnels: summary.json of each counting set; audit_summary: that of the audit;
        benchmark_summaries: those of the other benchmarks.
    models: model.json of each training. audit_page: the page that this one links to.
    gpus: GPUs that a job holds, by the beginning of its name under `costs`; none where not listed.
    costs, config: shown as they are found.
    """
    table = scores.read_table1(table1_csv)
    sections = _sections(results, funnels)
    audited = [*(_audit(audit_summary) if audit_summary else []), *_further(benchmark_summaries)]
    sections += [
        Section("audit", "The benchmark and its audit", AUDIT, _tables(audited)),
        _config(config),
        Section(
            "versions",
            "Versions",
            VERSIONS,
            _tables([_versions([_json(path) for path in models])]),
        ),
        Section("seeds", "Seeds", SEEDS, _tables([_seeds(config)])),
        Section("costs", "Costs", COSTS, _tables([_costs(Path(costs), gpus)])),
    ]
    inputs = [
        *filter(None, (audit_page, table1_csv, audit_summary)),
        *(*results, *funnels, *benchmark_summaries, *models),
    ]
    text = pages.render(
        template,
        styles=["page.css", "table.css", "report.css"],
        stamp=pages.stamp(scale),
        finding=main_result.finding(table, scale),
        remarks=main_result.remarks(table),
        warnings=main_result.warnings(table),
        plot=main_result.dot_plot(table),
        facts=_facts(table, funnels, audit_summary, config),
        sections=sections,
        absent=_absent(sections),
        places=_places(inputs, Path(page).parent),
    )
    write_text(text, page)
    log.info("%s: %d sections, %.1f MB", page, len(sections), len(text) / 1e6)


# ---- size of the run ----


def _facts(
    table: pd.DataFrame, funnels: list[str], audit_summary: str | None, config: dict[str, Any]
) -> dict[str, str]:
    """The size of the run: name and value."""
    baseline, variants = main_result.models(table)
    sets = [_json(path) for path in funnels]
    listed = f" of {_json(audit_summary)['rows']}" if audit_summary else ""
    return {
        f"images of the benchmark, {baseline['benchmark']}": f"{baseline['n']}{listed}",
        "variant" + "s" * (len(variants) != 1): f"{len(variants)}",
        "seed" + "s" * (len(config["seeds"]) != 1) + " per variant": f"{len(config['seeds'])}",
        "training pairs": " / ".join(f"{one['train']:,}" for one in sets),
        "rows of metadata": f"{max((one['rows'] for one in sets), default=0):,}",
    }


def _json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


# ---- tables and figures ----


def _sections(files: list[str], funnels: list[str]) -> list[Section]:
    """The sections of tables and figures that this run has, in their order."""
    parts: dict[str, list[Table | Figure]] = {section.id: [] for section in SECTIONS}
    folded = {section.id: section.folded for section in SECTIONS}
    of_sets: dict[str, list[Figure]] = {Path(path).parent.name: [] for path in funnels}
    for path in sorted(files, key=place_of):
        section = section_of(path)
        if path.endswith(".json"):
            parts[section] += _tables(map(_bounded, read_sheets(path)), folded[section])
        elif path.endswith(".svg"):
            of_set = of_sets.get(id_of(path)) if section == "funnel" else None
            (parts[section] if of_set is None else of_set).append(_figure(path, files))
    for path in funnels:
        parts["funnel"] += [*_tables(_funnels(path)), *of_sets[Path(path).parent.name]]
    return [
        Section(section.id, section.title, section.introduction, parts[section.id])
        for section in SECTIONS
        if parts[section.id]
    ]


def _absent(sections: list[Section]) -> dict[str, str]:
    """Title and patterns of the sections of tables and figures that this run does not have."""
    shown = {section.id for section in sections}
    return {
        section.title: ", ".join(patterns_of(section.id))
        for section in SECTIONS
        if section.id not in shown
    }


def _tables(sheets: Iterable[Sheet], folded: bool = False) -> list[Table | Figure]:
    """Tables of some sheets, long ones folded away."""
    return [Table(sheet, folded or len(sheet.rows) >= FOLDED) for sheet in sheets]


def _bounded(sheet: Sheet) -> Sheet:
    if len(sheet.rows) > LONGEST:
        sheet.notes.append(f"{len(sheet.rows) - LONGEST} more rows are in the file.")
        del sheet.rows[LONGEST:]
    return sheet


def _figure(svg: str, files: list[str]) -> Figure:
    """A figure as SVG, else as the PNG beside it, else as neither if both are too large."""
    forms = [svg, *(path for path in files if path == svg.removesuffix("svg") + "png")]
    small = [path for path in forms if Path(path).stat().st_size <= LARGEST]
    return Figure(svg, _uri(Path(small[0])) if small else "")


def _uri(path: Path) -> str:
    kind = {".svg": "svg+xml", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


# ---- counting sets and benchmarks ----

AUDIT = "What the benchmark's links return today, and how many images of each class count."


def _funnels(path: str) -> Iterable[Sheet]:
    """Both funnels of a counting set, and its pairs of each number.

    ValueError for a funnel that does not add up.
    """
    summary = _json(path)
    name = Path(path).parent.name
    for kind in ("counting", "non_counting"):
        title = f"{kind.replace('_', '-')} pairs, counting set {name}"
        yield _funnel(summary["rows"], summary[kind], title, path)
    if composed := summary.get("composed"):
        for rows, kind, what in (
            (composed["pairs"], "sources", "images to compose from"),
            (composed["attempts"], "composed", "attempts to compose an image"),
        ):
            yield _funnel(rows, composed[kind], f"{what}, counting set {name}", path)
    headers = ["number", "candidates", "downloaded", "matched", "train", "heldout"]
    rows = [[Cell(f"{one[key]:,}") for key in headers] for one in summary["numbers"]]
    yield Sheet(f"Pairs of each number, counting set {name}", headers, rows, [])


def _funnel(rows: int, steps: list[dict[str, Any]], title: str, path: str) -> Sheet:
    lines, left = [], rows
    for step in steps:
        lost = {reason: n for reason, n in step["lost"].items() if n}
        if step["rows"] != left or left - sum(lost.values()) != step["kept"]:
            raise ValueError(f"{path}: {title} do not add up at the step {step['step']!r}")
        why = ", ".join(f"{reason.replace('_', ' ')} {n:,}" for reason, n in lost.items())
        figures = (step["rows"], left - step["kept"], step["kept"])
        lines.append([Cell(STEPS[step["step"]]), *(Cell(f"{n:,}") for n in figures), Cell(why)])
        left = step["kept"]
    notes = [f"{rows:,} rows − {rows - left:,} removed = {left:,} pairs."]
    return Sheet(title, ["requirement", "in", "removed", "left", "reasons"], lines, notes)


def _audit(path: str) -> Iterable[Sheet]:
    summary = _json(path)
    variants = [name for name in countbench.VARIANTS if name in summary]
    rows = [
        [Cell(word), *(Cell(str(summary[v]["n_per_class"][str(number)])) for v in variants)]
        for number, word in WORDS.items()
    ]
    rows.append([Cell("all"), *(Cell(str(summary[v]["n"])) for v in variants)])
    notes = [f"{name}: {countbench.VARIANTS[name]}." for name in variants]
    title = f"Images of each class, of {summary['rows']} rows"
    yield Sheet(title, ["class", *variants], rows, notes)
    meanings = countbench.STATUSES | countbench.DECISIONS
    rows = [
        [Cell(status.replace("_", " ")), Cell(str(n)), Cell(meanings[status])]
        for status, n in summary["by_status"].items()
    ]
    yield Sheet("Rows by status", ["status", "rows", "meaning"], rows, [])


def _further(paths: list[str]) -> Iterable[Sheet]:
    """How many rows of each other benchmark count, and why the others do not."""
    rows = []
    for path in paths:
        summary = _json(path)
        why = "; ".join(f"{n:,} {custom.STATUSES[s]}" for s, n in summary["left_out"].items())
        figures = (f"{summary['rows']:,}", f"{summary['included']:,}", why)
        rows.append([Cell(Path(path).parent.name), *map(Cell, figures)])
    if rows:
        yield Sheet("Further benchmarks", ["benchmark", "rows", "counted", "left out"], rows, [])


# ---- config, versions, seeds, costs ----

VERSIONS = "Packages that trained the models, and packages that made this page."
SEEDS = "Every random draw is seeded: the same inputs and config give the same results."
COSTS = (
    "Measured time and memory of each rule's jobs. Times are added up, also of jobs that ran in"
    " parallel, so the sum is longer than the wait. Of a resumed job only the last attempt counts."
)


def _config(config: dict[str, Any]) -> Section:
    """Keys that differ from the default, and the whole config folded away."""
    default = config_files.default()
    keys = list(leaves(config))
    differ = [key for key in keys if _value(config, key) != _value(default, key)]
    changed = [
        [Cell(".".join(key)), Cell(_value(config, key)), Cell(_value(default, key))]
        for key in differ
    ]
    whole = [[Cell(".".join(key)), Cell(_value(config, key), best=key in differ)] for key in keys]
    differences = Sheet("Differences from the default", ["key", "here", "default"], changed, [])
    note = "▲ differs from the default."
    all_keys = Sheet(f"All {len(keys)} keys", ["key", "value"], whole, [note])
    return Section(
        "config",
        "Config",
        "As it was when this page was made." + ("" if differ else " It is the default."),
        [*_tables([differences] if differ else []), *_tables([all_keys], folded=True)],
    )


def _value(config: Any, key: tuple[str, ...]) -> str:
    """Value of a config under a key, as JSON; a dash where it has none."""
    for name in key:
        if not isinstance(config, dict) or name not in config:
            return "–"
        config = config[name]
    return canonical(config)


def _versions(models: list[dict[str, Any]]) -> Sheet:
    trained: dict[str, set[str]] = {}
    for model in models:
        for name, version in model["versions"].items():
            trained.setdefault(name, set()).add(version)
    rows = [[Cell("Python"), Cell("–"), Cell(platform.python_version())]]
    for name in sorted({*PACKAGES, *trained}, key=str.lower):
        rows.append([Cell(name), Cell(", ".join(sorted(trained.get(name, "–")))), Cell(_now(name))])
    return Sheet("Versions", ["package", "in training", "now"], rows, [])


def _now(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _seeds(config: dict[str, Any]) -> Sheet:
    rows = [
        [Cell(".".join(key)), Cell(canonical(value))]
        for key, value in leaves(config).items()
        if key[-1] in ("seed", "seeds")
    ]
    return Sheet("Seeds", ["key", "value"], rows, [])


def _costs(folder: Path, gpus: dict[str, int]) -> Sheet:
    """Snakemake's measurements of each rule's jobs, and their sum."""
    jobs = []
    for file in sorted(folder.rglob("*.tsv")):
        job = file.relative_to(folder).with_suffix("").as_posix()
        held = next((n for start, n in gpus.items() if job.startswith(start)), 0)
        lines = pd.read_csv(file, sep="\t", usecols=["s", "max_rss"], na_values="-")
        lines["rule"], lines["gpu"] = job.partition("/")[0], lines["s"] * held
        jobs.append(lines)
    table = pd.concat(jobs) if jobs else pd.DataFrame(columns=["s", "max_rss", "rule", "gpu"])
    rows = [_cost(rule, of_rule) for rule, of_rule in table.groupby("rule")]
    headers = ["rule", "jobs", "time", "longest job", "memory (GB)", "GPU-hours"]
    notes = [
        "Times are hours, minutes and seconds. Memory: the largest of a job of the rule."
        " GPU-hours: hours times GPUs."
    ]
    return Sheet("Costs", headers, [*rows, _cost("all", table)], [*notes, f"From {folder}/"])


def _cost(rule: str, jobs: pd.DataFrame) -> list[Cell]:
    memory, held = jobs["max_rss"].max() / 1000, jobs["gpu"].sum() / 3600
    figures = [
        f"{len(jobs):,}",
        _time(jobs["s"].sum()),
        _time(jobs["s"].max()) if len(jobs) else "–",
        "–" if pd.isna(memory) else f"{memory:,.2f}",
        f"{held:,.2f}" if held else "–",
    ]
    return [Cell(rule), *map(Cell, figures)]


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:,}:{minutes % 60:02}:{rest:02}"


def _places(files: Iterable[str], folder: Path) -> dict[str, str]:
    """Path of each file beside or below the page, and its address relative to the page."""
    return {
        str(path): f"./{path.relative_to(folder).as_posix()}"
        for path in map(Path, files)
        if path.is_relative_to(folder)
    }
