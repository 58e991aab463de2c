"""What did a run find, from what, and at what cost? One page over all its results, to open first.

Everything on it follows from its inputs, save three things that are shown as they are found when
the page is made: the config, the versions of the packages and what the jobs cost.
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
from countclip.report import pages
from countclip.report.sheets import Cell, Sheet, read_markdown
from countclip.runtime.files import write_text
from countclip.runtime.provenance import canonical, leaves
from countclip.runtime.resources import HOME

log = logging.getLogger(__name__)

LARGEST = 3_000_000
"""Bytes of a picture that the page holds; of a larger one it says where it lies."""
LONGEST = 200
"""Rows of a table that the page shows."""
SIGNIFICANT = 0.05
RESULTS = (
    ("paper", "The paper's own figures", "Table 1 has them beside ours. Here is what follows from"
     " its confusion matrices: which of its differences carry weight.", ("results/paper.*",)),
    ("ablations", "Ablations", "One ingredient at a time.", ("results/ablations.*",)),
    ("benchmarks", "Further benchmarks", "The same models on other images.",
     ("results/benchmarks/*/table.*",)),
    ("retention", "What the models could do before", "Learning to count may cost what a model knew."
     " WiSE-FT are weights in between the untouched and the fine-tuned model.",
     ("results/retention.*", "results/wise_ft.*", "results/figures/retention.*",
      "results/figures/wise_ft.*")),
    ("retrieval", "Retrieval and relevancy", "Images found by a caption with a number, and how much"
     " the number word matters to the model.",
     ("results/retrieval.*", "results/relevancy.*", "results/figures/retrieval.*",
      "results/figures/relevancy.*")),
    ("figures", "Figures", "Each also lies beside the page, as vector and as picture.",
     ("results/figures/*",)),
)  # fmt: skip
"""Sections made of tables and figures alone: id, title, introduction, the files that belong to it,
wherever `results` lies. A file belongs to the first that names it."""
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
"""The steps of a counting set's funnel, as what they ask of a row."""
PACKAGES = (
    *("snakemake", "torch", "torchvision", "open_clip_torch", "lightning-fabric", "safetensors"),
    *("ultralytics-opencv-headless", "openvino", "onnxruntime", "img2dataset", "numpy", "pandas"),
    *("polars", "pyarrow", "pillow", "scipy", "statsmodels", "matplotlib"),
)


@dataclass
class Picture:
    """A figure as a data URI (empty where it is too large to be shown), and the file it is of."""

    path: str
    source: str

    @property
    def alt(self) -> str:
        return Path(self.path).stem.replace("_", " ")


@dataclass
class Section:
    """One question of a reader. `closed`: what is folded away under a line that says so."""

    id: str
    title: str
    intro: str = ""
    sheets: list[Sheet] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    closed: dict[str, Sheet] = field(default_factory=dict)


def render_report(
    table1: str,
    table1_markdown: str,
    files: list[str],
    funnels: list[str],
    benchmark: str,
    further: list[str],
    models: list[str],
    beside: list[str],
    template: str,
    page: str,
    *,
    scale: str,
    gpus: dict[str, int],
    costs: str,
    config: dict[str, Any],
) -> None:
    """Publish the page of a run.

    files: the tables and figures of this run, each in the forms that there are, as RESULTS knows
        them. A table is shown as its Markdown has it; one that is a CSV alone is folded away.
    funnels: summary.json of each counting set; benchmark: that of the audit; further: those of the
        other benchmarks.
    models: model.json of each training. beside: what else the page links to.
    gpus: how many GPUs a job held, by the beginning of its name under `costs`; none where unnamed.
    costs, config: shown as they are found.
    """
    table = _read(table1)
    sections = [Section("table1", "Table 1", TABLE1, _tables([table1_markdown]))]
    results, absent = _results(files)
    sections += results
    images = [*_audit(benchmark), *_further(further)]
    sections += [
        Section("funnel", "Where the counting set comes from", FUNNEL, list(_funnels(funnels))),
        Section("audit", "The benchmark and its audit", AUDIT, images),
        _config(config),
        Section("versions", "Versions", VERSIONS, [_versions([_json(path) for path in models])]),
        Section("seeds", "Seeds", SEEDS, [_seeds(config)]),
        Section("costs", "Costs", COSTS, [_costs(Path(costs), gpus)]),
    ]
    text = pages.render(
        template,
        styles=["page.css", "table.css", "report.css"],
        stamp=pages.stamp(scale),
        finding=finding(table),
        verdicts=verdicts(table),
        facts=_facts(table, funnels, benchmark, config),
        sections=sections,
        absent=absent,
        places=_places(
            [*beside, table1, table1_markdown, *files, *funnels, benchmark, *further, *models],
            Path(page).parent,
        ),
    )
    write_text(text, page)
    log.info("%s: %d sections, %.1f MB", page, len(sections), len(text) / 1e6)


# ---- what was found ----

TABLE1 = (
    "Each variant and the untouched model on the same images. The end of training is chosen by"
    " nobody; the selected checkpoint by pairs held out of the counting set; the best on the"
    " benchmark, the paper's protocol, by the images that it is measured on."
)


CHOSEN = (
    "; it is the best by these very images, which flatters the points and their interval, and p"
    " alone is corrected for that"
)


def finding(table: pd.DataFrame) -> str:
    """The main result in one sentence, right whatever came out: the best variant at the end of
    training, where no checkpoint is chosen on the benchmark, against the untouched model. The
    variant itself is chosen on it, and the sentence says what that does."""
    base, variants = _models(table)
    n = f"{base['n']} images"
    if variants.empty:
        return (
            "Nothing was trained in this run; the untouched model names the right number of"
            f" {base['accuracy_end']:.2f} % of {n}."
        )
    best = variants.loc[variants["accuracy_end"].idxmax()]
    which = "the only variant" if len(variants) == 1 else f"the best of {len(variants)} variants"
    found = (
        f"“{best['label']}”, {which}, names the right number of {best['accuracy_end']:.2f} % of {n}"
        f" at the end of training, the untouched model of {base['accuracy_end']:.2f} %"
    )
    low, high = best["difference_baseline_low"], best["difference_baseline_high"]
    points = f"{abs(best['difference_baseline']):.2f} points"
    if best["difference_baseline"] > 0:
        which_is = "which is" if _significant(best) else "which is not"
        told = f"{found}: {points} more [{low:.2f}, {high:.2f}], {which_is} significant"
        return f"{told} ({_test(best)}){'' if len(variants) == 1 else CHOSEN}."
    none = "The only variant is not" if len(variants) == 1 else "No variant is"
    return f"{none} better than the untouched model: {found}, {points} less ({_test(best)})."


def verdicts(table: pd.DataFrame) -> str:
    """How many variants differ from the untouched model by more than chance gives."""
    _, variants = _models(table)
    if variants.empty:
        return ""
    significant = variants.apply(_significant, axis=1)
    better = int((significant & (variants["difference_baseline"] > 0)).sum())
    worse = int((significant & (variants["difference_baseline"] < 0)).sum())
    neither = len(variants) - better - worse
    return (
        f"Of {len(variants)} variants, significantly better: {better}, significantly worse:"
        f" {worse}, neither: {neither}; at the level of {100 * SIGNIFICANT:g} %, corrected."
    )


def _models(table: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """The untouched model and the variants, without the controls."""
    others = table["variant"].eq("baseline") | table["variant"].str.startswith("control_")
    return table[table["variant"] == "baseline"].iloc[0], table[~others]


def _significant(row: pd.Series) -> bool:
    return bool(row["p_end_vs_baseline_holm"] < SIGNIFICANT)  # nan is not


def _test(row: pd.Series) -> str:
    p = row["p_end_vs_baseline_holm"]
    if pd.isna(p):
        return "not tested"
    return f"exact McNemar test, p = {p:.2g} after Holm's correction"


def _facts(
    table: pd.DataFrame, funnels: list[str], benchmark: str, config: dict[str, Any]
) -> dict[str, str]:
    """The run in figures: name and value."""
    base, variants = _models(table)
    sets, asked = [_json(path) for path in funnels], _json(benchmark)["rows"]
    return {
        f"images of the benchmark, {base['benchmark']}": f"{base['n']} of {asked}",
        "variants trained": f"{len(variants)}",
        "seeds of each": f"{len(config['seeds'])}",
        "training pairs": " / ".join(f"{one['train']:,}" for one in sets),
        "rows of metadata": f"{max((one['rows'] for one in sets), default=0):,}",
    }


def _json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


# ---- tables and figures ----


def _results(files: list[str]) -> tuple[list[Section], dict[str, str]]:
    """The sections of RESULTS that have files, and title and files of those that have none."""
    left, sections, absent = list(files), [], {}
    for name, title, intro, patterns in RESULTS:
        own = [path for path in left if any(Path(path).match(p) for p in patterns)]
        left = [path for path in left if path not in own]
        if own:
            sections.append(Section(name, title, intro, _tables(own), _pictures(own), _raw(own)))
        else:
            absent[title] = ", ".join(patterns)
    if left:
        raise ValueError(f"no section shows {', '.join(left)}: name them in report.RESULTS")
    return sections, absent


def _tables(files: list[str]) -> list[Sheet]:
    """The tables of those files that are Markdown."""
    found = []
    for path in files:
        if path.endswith(".md"):
            try:
                found += read_markdown(Path(path).read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    return [_bounded(sheet) for sheet in found]


def _raw(files: list[str]) -> dict[str, Sheet]:
    """The tables of which there is a CSV alone, which is for programs, under their paths."""
    found = {}
    for path in files:
        if path.endswith(".csv") and path.removesuffix("csv") + "md" not in files:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            rows = [list(map(Cell, row)) for row in table.itertuples(index=False)]
            found[path] = _bounded(Sheet(path, list(table.columns), rows, []))
    return found


def _bounded(sheet: Sheet) -> Sheet:
    if len(sheet.rows) > LONGEST:
        sheet.notes.append(f"{len(sheet.rows) - LONGEST} more rows are in the file.")
        del sheet.rows[LONGEST:]
    return sheet


def _read(table: str) -> pd.DataFrame:
    """A table as scores.table1 makes it, from its CSV."""
    kinds = {"seeds": str, "n_per_class": str, "ties": "Int64"}
    return pd.read_csv(table, dtype=kinds, keep_default_na=False, na_values=[""])


def _pictures(files: list[str]) -> list[Picture]:
    """Each figure once: the vector, else the PNG beside it, else neither if both are too large."""
    found = []
    for svg in (path for path in files if path.endswith(".svg")):
        pictures = [svg, *(path for path in files if path == svg.removesuffix("svg") + "png")]
        small = [path for path in pictures if Path(path).stat().st_size <= LARGEST]
        found.append(Picture(svg, _uri(Path(small[0])) if small else ""))
    return found


def _uri(path: Path) -> str:
    kind = {".svg": "svg+xml", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


# ---- what it was made from ----

FUNNEL = "Every row of the metadata, and where it was lost, by reason."
AUDIT = "What the benchmark's links show today, and how many images of each class can be counted."


def _funnels(paths: list[str]) -> Iterable[Sheet]:
    """Both funnels of each counting set, and its pairs of each number; ValueError for one that does
    not add up."""
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
    return Sheet(title, ["what is asked of a row", "in", "lost", "out", "why"], lines, notes)


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
        own = _json(path)
        why = "; ".join(f"{n:,} {custom.STATUSES[s]}" for s, n in own["left_out"].items())
        figures = (f"{own['rows']:,}", f"{own['included']:,}", why)
        rows.append([Cell(Path(path).parent.name), *map(Cell, figures)])
    if rows:
        yield Sheet("Further benchmarks", ["benchmark", "rows", "counted", "left out"], rows, [])


# ---- how ----

VERSIONS = "Of the packages that trained the models, and of those that made this page."
SEEDS = "Every draw is seeded: the same inputs and the same config give the same results."
COSTS = (
    "What the jobs of each rule took, as far as it was measured. Jobs that ran side by side share"
    " the machine and are added up, so the sum is longer than the wait. Of a job that was stopped"
    " and went on, the last attempt alone was measured."
)


def _config(config: dict[str, Any]) -> Section:
    """What differs from the default, and all of it folded away."""
    default = yaml.safe_load((HOME / "config/config.yaml").read_text(encoding="utf-8"))
    keys = list(leaves(config))
    differ = [key for key in keys if _value(config, key) != _value(default, key)]
    changed = [
        [Cell(".".join(key)), Cell(_value(config, key)), Cell(_value(default, key))]
        for key in differ
    ]
    whole = [[Cell(".".join(key)), Cell(_value(config, key), best=key in differ)] for key in keys]
    return Section(
        "config",
        "Config",
        "As it was when this page was made." + ("" if differ else " It is the default."),
        [Sheet("What differs from the default", ["key", "here", "default"], changed, [])]
        if differ
        else [],
        closed={
            f"All {len(keys)} keys": Sheet(
                "The whole config", ["key", "value"], whole, ["▲ differs from the default."]
            )
        },
    )


def _value(config: Any, key: tuple[str, ...]) -> str:
    """What a config has under a key, as JSON; a dash where it has nothing."""
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
    """What Snakemake measured of each rule's jobs, and all of them added up."""
    jobs = []
    for file in sorted(folder.rglob("*.tsv")):
        job = file.relative_to(folder).with_suffix("").as_posix()
        held = next((n for start, n in gpus.items() if job.startswith(start)), 0)
        lines = pd.read_csv(file, sep="\t", usecols=["s", "max_rss"], na_values="-")
        lines["rule"], lines["gpu"] = job.partition("/")[0], lines["s"] * held
        jobs.append(lines)
    known = pd.concat(jobs) if jobs else pd.DataFrame(columns=["s", "max_rss", "rule", "gpu"])
    rows = [_cost(rule, own) for rule, own in known.groupby("rule")]
    headers = ["rule", "jobs", "time", "longest job", "memory (GB)", "GPU-hours"]
    notes = [
        "Times are hours, minutes and seconds. Memory: the most that a job of the rule held."
        " GPU-hours: hours times GPUs held."
    ]
    return Sheet("Costs", headers, [*rows, _cost("all", known)], [*notes, f"From {folder}/"])


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
    """Path of each file beside or below the page, and its address as seen from there."""
    return {
        str(path): f"./{path.relative_to(folder).as_posix()}"
        for path in map(Path, files)
        if path.is_relative_to(folder)
    }
