"""Tables of retention: what fine-tuning for counting cost on other tasks, and WiSE-FT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from countclip.report import pages, scores, sheets, statistics
from countclip.report.sheets import COUNT, SIGNED, TWO_DECIMALS, Cell, Format, Sheet

MEASURES = {
    "top-1": ("label", 1),
    "top-5": ("label", 5),
    "image to text, recall@1": ("image_to_text", 1),
    "image to text, recall@5": ("image_to_text", 5),
    "image to text, recall@10": ("image_to_text", 10),
    "text to image, recall@1": ("text_to_image", 1),
    "text to image, recall@5": ("text_to_image", 5),
    "text to image, recall@10": ("text_to_image", 10),
}
"""Direction of each measure, and its k: how many answers a model may give.

A task has the measures of its directions with more than k answers to choose from.
"""
CHECKPOINTS = ("end", "selected")
BOUNDS = ("", "_low", "_high")
COLUMNS = [
    *("task", "measure", "n", "answers", "chance", "variant", "label", "checkpoint"),
    *(f"{name}{bound}" for name in ("before", "after", "difference") for bound in BOUNDS),
    *("seeds", "scale"),
]
FORMATS = {
    **dict.fromkeys(["chance", "before", "after"], TWO_DECIMALS),
    **{f"difference{bound}": SIGNED for bound in BOUNDS},
}
"""Of each number that the sheets of `retention` show."""


def retention(answers: pd.DataFrame, variants: list[dict[str, str]], scale: str) -> pd.DataFrame:
    """One row a task, measure, variant and checkpoint, with COLUMNS; shares in percent.

    answers: of `retention.measure`, the baseline's and all runs'. A share is the mean over the
    seeds, its interval Wilson's; that of a difference is the paired bootstrap's over the same
    images. Both count images, not the captions of each, which are no independent questions.
    """
    rows = []
    for task, of_task in answers.groupby("task", sort=False):
        for measure, (direction, k) in MEASURES.items():
            questions = of_task[(of_task["direction"] == direction) & (of_task["among"] > k)]
            if len(questions):
                shared = {"task": task, "measure": measure, "scale": scale}
                rows += [shared | row for row in _before_and_after(questions, k, variants)]
    several = any("baseline" in variant for variant in variants)
    return pd.DataFrame(rows, columns=[*COLUMNS, "baseline"] if several else COLUMNS)


def _before_and_after(
    answers: pd.DataFrame, k: int, variants: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """The rows of one measure, from the answers to its questions."""
    from scipy.stats import hypergeom  # half a second, which no other table needs

    answers = answers.assign(hit=answers["rank"] < k)
    hits = answers.pivot_table(
        "hit", ["picture", "index"], ["variant", "checkpoint"], aggfunc="mean"
    )
    n = len(hits)
    of_baseline = answers[answers["variant"] == "baseline"]
    before = {
        variant["id"]: hits[variant.get("baseline", scores.BASELINE["id"]), "end"]
        for variant in variants
    }
    # Of all answers in a random order, a right one is among the first k.
    chance = 1 - hypergeom.pmf(0, of_baseline["among"], of_baseline["right"], k).mean()
    labels = {
        (variant["id"], name): variant["label"] for variant in variants for name in CHECKPOINTS
    }
    differences = pd.DataFrame({key: hits[key] - before[key[0]] for key in labels})
    images = differences.index.get_level_values("picture")
    own = {variant["id"]: variant.get("baseline") for variant in variants}
    resampled = statistics.bootstrap(differences.to_numpy().T, groups=images)
    rows = []
    for number, (variant, name) in enumerate(labels):
        bounds = statistics.percentile_interval(resampled[:, number])
        rows.append(
            {
                "n": n,
                "answers": of_baseline["among"].iloc[0],
                "chance": 100 * chance,
                "variant": variant,
                "label": labels[variant, name],
                "checkpoint": name,
                "seeds": scores.seeds_of(answers.loc[answers["variant"] == variant, "seed"]),
            }
            | {"baseline": own.get(variant)}
            | _share("before", before[variant].mean(), images.nunique())
            | _share("after", hits[variant, name].mean(), images.nunique())
            | _percent("difference", differences[variant, name].mean(), *bounds)
        )
    return rows


def _share(name: str, share: float, n: int) -> dict[str, float]:
    return _percent(name, share, *statistics.wilson(share, n))


def _percent(name: str, *values: float) -> dict[str, float]:
    return {f"{name}{bound}": 100 * value for bound, value in zip(BOUNDS, values, strict=True)}


def make_retention(
    answers: list[str],
    *,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    variants: list[dict[str, str]],
    scale: str,
    baselines: Sequence[dict[str, str]] = (),
) -> None:
    """Publish `retention` of the files of `retention.measure` as CSV, JSON and Markdown."""
    table = retention(pd.concat(map(pd.read_parquet, answers)), variants, scale)
    sheets.write_csv(table, csv_path)
    sheets.write_sheets(retention_sheets(table, baselines), json_path, markdown_path)


def retention_sheets(table: pd.DataFrame, baselines: Sequence[dict[str, str]] = ()) -> list[Sheet]:
    """One sheet a task: each variant's first answers, and their difference to the baseline's.

    baselines: as `scores.table1` has it.
    """
    return [_sheet(task, rows, baselines) for task, rows in table.groupby("task", sort=False)]


def _sheet(task: str, table: pd.DataFrame, baselines: Sequence[dict[str, str]]) -> Sheet:
    table = table.join(pd.DataFrame(sheets.texts(table, FORMATS), table.index).add_suffix("_text"))
    shown = [name for name in table["measure"].unique() if MEASURES[name][1] == 1]
    columns = [(measure, name) for measure in shown for name in CHECKPOINTS]
    measures = table.drop_duplicates("measure").set_index("measure")
    lines = []
    for row in baselines or [scores.BASELINE]:
        own = table[table["baseline"] == row["id"]] if baselines else table
        before = own.drop_duplicates("measure").set_index("measure")["before_text"]
        if len(before):
            lines.append([Cell(row["label"]), *(Cell(before[measure]) for measure, _ in columns)])
    for _, rows in table.groupby("variant", sort=False):
        after = rows.set_index(["measure", "checkpoint"]).to_dict("index")
        lines.append([Cell(rows["label"].iloc[0]), *(_cell(after[column]) for column in columns)])
    return Sheet(
        f"Retention on {task}: what fine-tuning for counting cost",
        ["Configuration", *(f"{m}, {scores.CHECKPOINTS[name]} (%)" for m, name in columns)],
        lines,
        [
            *(
                f"{measure}: n = {measures['n'][measure]},"
                f" chance {measures['chance_text'][measure]} %."
                for measure in shown
            ),
            "In brackets the difference to the pretrained baseline and its 95 % confidence"
            " interval, of a paired bootstrap over the same images, each with all of its captions;"
            " ▼ and ▲ where the interval leaves out zero. The intervals are not corrected for"
            " multiple comparisons, so some are marked by chance.",
            "Top-1: the class whose averaged prompts are most similar. Recall@1: the most similar"
            " caption, or image, is a right one. Ties count against the model: a wrong answer with"
            " equal similarity ranks first.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )


def _cell(row: dict[str, Any]) -> Cell:
    mark = " ▲" if row["difference_low"] > 0 else " ▼" if row["difference_high"] < 0 else ""
    difference, low, high = (row[f"difference{bound}_text"] for bound in BOUNDS)
    return Cell(row["after_text"], f"[{difference}: {low}, {high}]{mark}")


def wise_ft(
    runs: dict[str, list[pd.DataFrame]],
    n: int,
    *,
    variants: list[dict[str, str]],
    tasks: list[str],
    checkpoint: str,
    benchmark: str,
    scale: str,
) -> pd.DataFrame:
    """One row a variant and alpha; shares in percent, the mean over the seeds.

    runs: variant -> the tables of `wise_ft.sweep`, one a seed. n: images of the benchmark.
    `retention` is the mean over the tasks. `best_on_benchmark` marks a variant's alpha with the
    highest mean of the benchmark's accuracy and retention, chosen on the test images themselves;
    `selected` that with the held-out pairs' accuracy in its place, so that its accuracy on the
    benchmark is honest; its retention is of the same images that it was chosen by. Ties go to the
    smallest alpha.
    """
    parts = []
    for variant in variants:
        mean = pd.concat(runs[variant["id"]]).groupby("alpha", as_index=False).mean()
        accuracy, retained = mean["benchmark_accuracy"], mean[tasks].mean(axis=1)
        low, high = np.transpose([statistics.wilson(share, n) for share in accuracy])
        best = (accuracy + retained).idxmax(), (mean["heldout_accuracy"] + retained).idxmax()
        columns = {
            "variant": variant["id"],
            "label": variant["label"],
            "checkpoint": checkpoint,
            "seeds": len(runs[variant["id"]]),
            "alpha": mean["alpha"],
            "benchmark": benchmark,
            "n": n,
            **{f"benchmark_accuracy{bound}": 100 * value
               for bound, value in zip(BOUNDS, (accuracy, low, high), strict=True)},
            "heldout_accuracy": 100 * mean["heldout_accuracy"],
            "retention": 100 * retained,
            **{f"retention_{name}": 100 * mean[name] for name in tasks},
            "best_on_benchmark": mean.index == best[0],
            "selected": mean.index == best[1],
            "scale": scale,
        }  # fmt: skip
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def wise_ft_formats(tasks: list[str]) -> dict[str, Format]:
    """Format of each number that the sheet of `wise_ft` shows."""
    shares = [
        *(f"benchmark_accuracy{bound}" for bound in BOUNDS),
        *("heldout_accuracy", "retention"),
        *(f"retention_{name}" for name in tasks),
    ]
    return {"alpha": "{:g}".format, **dict.fromkeys(shares, TWO_DECIMALS), "seeds": COUNT}


def wise_ft_sheet(table: pd.DataFrame, tasks: list[str]) -> Sheet:
    """Counting and retention of each variant at each alpha, the chosen alphas marked."""
    lines = []
    texts = sheets.texts(table, wise_ft_formats(tasks))
    for row, text in zip(table.to_dict("records"), texts, strict=True):
        low, high = text["benchmark_accuracy_low"], text["benchmark_accuracy_high"]
        choices = {"best_on_benchmark": "on the benchmark", "selected": "on held-out pairs"}
        lines.append(
            [
                Cell(row["label"]),
                Cell(text["alpha"]),
                Cell(text["benchmark_accuracy"], f"[{low}, {high}]"),
                *(Cell(text[name]) for name in ("heldout_accuracy", "retention")),
                *(Cell(text[f"retention_{name}"]) for name in tasks),
                Cell(", ".join(words for name, words in choices.items() if row[name])),
                Cell(text["seeds"]),
            ]
        )
    checkpoint, benchmark, n = table.loc[0, ["checkpoint", "benchmark", "n"]]
    return Sheet(
        "WiSE-FT: weights between the pretrained baseline and a fine-tuned model",
        [
            *("Configuration", "α", "Accuracy (%)", "Held-out accuracy (%)", "Retention (%)"),
            *(f"Retention, {name} (%)" for name in tasks),
            *("Chosen", "Seeds"),
        ],
        lines,
        [
            f"α = 0 is the pretrained baseline, α = 1 the fine-tuned model"
            f" ({scores.CHECKPOINTS[checkpoint]}). Accuracy: benchmark “{benchmark}”, n = {n}, with"
            " its 95 % confidence interval (Wilson). All values are means over the seeds.",
            "Chosen: the α with the highest mean of accuracy and retention; on the benchmark, so"
            " that both are optimistic, or with the accuracy on held-out pairs in its place, so"
            " that only retention is.",
        ],
        pages.stamp(table["scale"][0]),
    )


def make_wise_ft(
    runs: list[str],
    *,
    csv_path: str,
    json_path: str,
    rows: dict[int, int],
    variants: list[dict[str, str]],
    tasks: list[str],
    checkpoint: str,
    benchmark: str,
    scale: str,
) -> None:
    """Publish `wise_ft` as CSV and JSON.

    runs: paths <variant>/seed<seed>.csv of `wise_ft.sweep`.
    rows: of the benchmark's variant that is counted (countbench.rows_of).
    """
    by_variant: dict[str, list[pd.DataFrame]] = {}
    for path in runs:
        by_variant.setdefault(Path(path).parent.name, []).append(sheets.read_csv(path))
    table = wise_ft(
        by_variant,
        len(rows),
        variants=variants,
        tasks=tasks,
        checkpoint=checkpoint,
        benchmark=benchmark,
        scale=scale,
    )
    sheets.write_csv(table, csv_path)
    sheets.write_sheets([wise_ft_sheet(table, tasks)], json_path)
