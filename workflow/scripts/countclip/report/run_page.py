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
import yaml

from countclip.benchmarks import countbench, custom
from countclip.data.number_words import WORDS
from countclip.report import pages, scores, statistics
from countclip.report.sheets import TWO_DECIMALS, Cell, Sheet, p_value, read_sheets
from countclip.runtime.files import write_text
from countclip.runtime.provenance import canonical, leaves
from countclip.runtime.resources import HOME
from countclip.runtime.results import SECTIONS, patterns_of, section_of

log = logging.getLogger(__name__)

LARGEST = 3_000_000
"""Bytes of an image that the page holds; of a larger one it says where it lies."""
LONGEST = 200
"""Rows of a table that the page shows."""
FOLDED = 40
"""Rows from which on a table is folded away under its title."""


STEPS = {
    "filter": "caption and number word",
    "download": "image downloaded",
    "detect": "objects counted as the caption says",
    "duplicates": "no pair and no image twice",
    "cap": "at most so many of a number",
    "sample": "sample",
    "read": "image read",
    "benchmark": "not in the benchmark",
    "split": "training and held-out pairs apart",
}
"""The steps of a counting set's funnel, as what they require of a row."""
PACKAGES = (
    *("snakemake", "torch", "torchvision", "open_clip_torch", "lightning-fabric", "safetensors"),
    *("ultralytics-opencv-headless", "openvino", "onnxruntime", "img2dataset", "numpy", "pandas"),
    *("polars", "pyarrow", "pillow", "scipy", "statsmodels", "matplotlib"),
)


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
    """A section of the page. folded: tables that are folded away, under their titles."""

    id: str
    title: str
    intro: str = ""
    sheets: list[Sheet] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    folded: list[Sheet] = field(default_factory=list)


def render_report(
    *,
    table1_csv: str,
    results: list[str],
    funnels: list[str],
    audit_summary: str,
    benchmark_summaries: list[str],
    models: list[str],
    audit_page: str,
    template: str,
    page: str,
    scale: str,
    gpus: dict[str, int],
    costs: str,
    config: dict[str, Any],
) -> None:
    """Publish the page of a run.

    results: the tables and figures of this run in all their forms (runtime/results.py). The page
        shows the JSON of a table (sheets.write_sheets) and links to its other forms.
    funnels: summary.json of each counting set; audit_summary: that of the audit;
        benchmark_summaries: those of the other benchmarks.
    models: model.json of each training. audit_page: the page that this one links to.
    gpus: GPUs that a job holds, by the beginning of its name under `costs`; none where not listed.
    costs, config: shown as they are found.
    """
    table = scores.read_table1(table1_csv)
    sections, absent = _results(results)
    images = [*_audit(audit_summary), *_further(benchmark_summaries)]
    sections += [
        Section("funnel", "Where the counting set comes from", FUNNEL, list(_funnels(funnels))),
        Section("audit", "The benchmark and its audit", AUDIT, images),
        _config(config),
        Section("versions", "Versions", VERSIONS, [_versions([_json(path) for path in models])]),
        Section("seeds", "Seeds", SEEDS, [_seeds(config)]),
        Section("costs", "Costs", COSTS, [_costs(Path(costs), gpus)]),
    ]
    inputs = [
        *(audit_page, table1_csv, *results),
        *(*funnels, audit_summary, *benchmark_summaries, *models),
    ]
    text = pages.render(
        template,
        styles=["page.css", "table.css", "report.css"],
        stamp=pages.stamp(scale),
        finding=finding(table),
        verdicts=verdicts(table),
        facts=_facts(table, funnels, audit_summary, config),
        sections=sections,
        absent=absent,
        places=_places(inputs, Path(page).parent),
    )
    write_text(text, page)
    log.info("%s: %d sections, %.1f MB", page, len(sections), len(text) / 1e6)


# ---- main result ----

SELECTION = (
    "; the variant was chosen on these same images, so the gain and its interval are optimistic,"
    " and p alone is corrected for the choice"
)


def finding(table: pd.DataFrame) -> str:
    """The main result in one sentence, true whatever the numbers are.

    It compares the best variant at the end of training, where no checkpoint is chosen on the
    benchmark, with the pretrained baseline. The variant itself is chosen on the benchmark, and the
    sentence says what that does.
    """
    baseline, variants = _models(table)
    n = f"{baseline['n']} images"
    before = TWO_DECIMALS(baseline["accuracy_end"])
    if variants.empty:
        return (
            "Nothing was trained in this run; the pretrained baseline counts"
            f" {before} % of {n} correctly."
        )
    best = variants.loc[variants["accuracy_end"].idxmax()]
    which = "the only variant" if len(variants) == 1 else f"the best of {len(variants)} variants"
    result = (
        f"“{best['label']}”, {which}, counts {TWO_DECIMALS(best['accuracy_end'])} % of {n}"
        f" correctly at the end of training, the pretrained baseline {before} %"
    )
    low, high = map(TWO_DECIMALS, best[["difference_baseline_low", "difference_baseline_high"]])
    points = f"{TWO_DECIMALS(abs(best['difference_baseline']))} points"
    if best["difference_baseline"] > 0:
        verdict = "significant" if _significant(best) else "not significant"
        return (
            f"{result}: {points} more [{low}, {high}], which is {verdict} ({_test(best)})"
            f"{'' if len(variants) == 1 else SELECTION}."
        )
    none = "The only variant is not" if len(variants) == 1 else "No variant is"
    return f"{none} better than the pretrained baseline: {result}, {points} less ({_test(best)})."


def verdicts(table: pd.DataFrame) -> str:
    """How many variants differ significantly from the pretrained baseline."""
    _, variants = _models(table)
    if variants.empty:
        return ""
    significant = variants.apply(_significant, axis=1)
    better = int((significant & (variants["difference_baseline"] > 0)).sum())
    worse = int((significant & (variants["difference_baseline"] < 0)).sum())
    neither = len(variants) - better - worse
    return (
        f"Of {len(variants)} variants, significantly better: {better}, significantly worse:"
        f" {worse}, neither: {neither}; at the level of {100 * statistics.LEVEL:g} %, corrected."
    )


def _models(table: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """The pretrained baseline and the variants, without the controls."""
    is_baseline = table["variant"] == scores.BASELINE["id"]
    is_control = table["variant"].isin(scores.CONTROLS)
    return table[is_baseline].iloc[0], table[~is_baseline & ~is_control]


def _significant(row: pd.Series) -> bool:
    return bool(row["p_end_vs_baseline_holm"] < statistics.LEVEL)  # nan is not


def _test(row: pd.Series) -> str:
    p = row["p_end_vs_baseline_holm"]
    if pd.isna(p):
        return "not tested"
    return f"exact McNemar test, Holm-corrected p = {p_value(p)}"


def _facts(
    table: pd.DataFrame, funnels: list[str], audit_summary: str, config: dict[str, Any]
) -> dict[str, str]:
    """The size of the run: name and value."""
    baseline, variants = _models(table)
    sets, listed = [_json(path) for path in funnels], _json(audit_summary)["rows"]
    return {
        f"images of the benchmark, {baseline['benchmark']}": f"{baseline['n']} of {listed}",
        "variants trained": f"{len(variants)}",
        "seeds per variant": f"{len(config['seeds'])}",
        "training pairs": " / ".join(f"{one['train']:,}" for one in sets),
        "rows of metadata": f"{max((one['rows'] for one in sets), default=0):,}",
    }


def _json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


# ---- tables and figures ----


def _results(files: list[str]) -> tuple[list[Section], dict[str, str]]:
    """The sections that have files, and title and patterns of those that have none."""
    by_section: dict[str, list[str]] = {}
    for path in files:
        by_section.setdefault(section_of(path), []).append(path)
    sections = [
        _section(section.id, section.title, section.introduction, by_section[section.id])
        for section in SECTIONS
        if section.id in by_section
    ]
    absent = {
        section.title: ", ".join(patterns_of(section.id))
        for section in SECTIONS
        if section.id not in by_section
    }
    return sections, absent


def _section(id: str, title: str, introduction: str, files: list[str]) -> Section:
    """A section of the tables among `files`, long ones folded away, and of the figures."""
    tables = [sheet for path in files if path.endswith(".json") for sheet in read_sheets(path)]
    return Section(
        id,
        title,
        introduction,
        [_bounded(sheet) for sheet in tables if len(sheet.rows) < FOLDED],
        _figures(files),
        [_bounded(sheet) for sheet in tables if len(sheet.rows) >= FOLDED],
    )


def _bounded(sheet: Sheet) -> Sheet:
    if len(sheet.rows) > LONGEST:
        sheet.notes.append(f"{len(sheet.rows) - LONGEST} more rows are in the file.")
        del sheet.rows[LONGEST:]
    return sheet


def _figures(files: list[str]) -> list[Figure]:
    """Each figure once: the SVG, else the PNG beside it, else neither if both are too large."""
    figures = []
    for svg in (path for path in files if path.endswith(".svg")):
        forms = [svg, *(path for path in files if path == svg.removesuffix("svg") + "png")]
        small = [path for path in forms if Path(path).stat().st_size <= LARGEST]
        figures.append(Figure(svg, _uri(Path(small[0])) if small else ""))
    return figures


def _uri(path: Path) -> str:
    kind = {".svg": "svg+xml", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


# ---- counting sets and benchmarks ----

FUNNEL = "Every row of the metadata, and the step and reason that removed it."
AUDIT = "What the benchmark's links give today, and how many images of each class count."


def _funnels(paths: list[str]) -> Iterable[Sheet]:
    """Both funnels of each counting set, and its pairs of each number.

    ValueError for a funnel that does not add up.
    """
    for path in paths:
        summary = _json(path)
        name = Path(path).parent.name
        for kind in ("counting", "non_counting"):
            title = f"{kind.replace('_', '-')} pairs, counting set {name}"
            yield _funnel(summary["rows"], summary[kind], title, path)
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
    notes = [f"{rows:,} rows less {rows - left:,} lost are {left:,} pairs."]
    return Sheet(title, ["requirement", "in", "lost", "out", "why"], lines, notes)


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
    "Time and memory of the jobs of each rule, as far as they were measured. The times of jobs that"
    " ran in parallel are added up, so the sum is longer than the wait. A job that was stopped and"
    " resumed counts its last attempt only."
)


def _config(config: dict[str, Any]) -> Section:
    """Keys that differ from the default, and the whole config folded away."""
    default = yaml.safe_load((HOME / "config/config.yaml").read_text(encoding="utf-8"))
    keys = list(leaves(config))
    differ = [key for key in keys if _value(config, key) != _value(default, key)]
    changed = [
        [Cell(".".join(key)), Cell(_value(config, key)), Cell(_value(default, key))]
        for key in differ
    ]
    whole = [[Cell(".".join(key)), Cell(_value(config, key), best=key in differ)] for key in keys]
    note = "▲ differs from the default."
    return Section(
        "config",
        "Config",
        "As it was when this page was made." + ("" if differ else " It is the default."),
        [Sheet("Differences from the default", ["key", "here", "default"], changed, [])]
        if differ
        else [],
        folded=[Sheet(f"All {len(keys)} keys", ["key", "value"], whole, [note])],
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
