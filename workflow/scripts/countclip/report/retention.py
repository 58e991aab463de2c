"""What did learning to count cost elsewhere, and do weights in between cost less? Two tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from countclip.report import pages, scores, statistics
from countclip.report.sheets import Cell, Sheet, markdown, write_csv
from countclip.runtime.files import write_text

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
"""Of which question, and how many answers a model may give. A task has those of its questions with
more than so many answers to choose from."""
CHECKPOINTS = ("end", "selected")
BOUNDS = ("", "_low", "_high")
COLUMNS = [
    *("task", "measure", "n", "answers", "chance", "variant", "label", "checkpoint"),
    *(f"{name}{bound}" for name in ("before", "after", "difference") for bound in BOUNDS),
    *("seeds", "scale"),
]


def retention(answered: pd.DataFrame, variants: list[dict[str, str]], scale: str) -> pd.DataFrame:
    """One row a task, measure, variant and checkpoint, with COLUMNS; shares in percent, unrounded.

    answered: of `retention.measure`, the baseline's and all runs'. A share is the mean over the
    seeds, its interval Wilson's; that of a difference is the paired bootstrap's over the same
    pictures. Both count pictures, not the captions of each, which are no independent questions.
    """
    rows = []
    for task, of_task in answered.groupby("task", sort=False):
        for measure, (direction, k) in MEASURES.items():
            asked = of_task[(of_task["direction"] == direction) & (of_task["among"] > k)]
            if len(asked):
                about = {"task": task, "measure": measure, "scale": scale}
                rows += [about | row for row in _before_and_after(asked, k, variants)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _before_and_after(
    asked: pd.DataFrame, k: int, variants: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """The rows of one measure, from the answers to its questions."""
    asked = asked.assign(hit=asked["rank"] < k)
    hits = asked.pivot_table("hit", ["picture", "index"], ["variant", "checkpoint"], aggfunc="mean")
    before, n = hits["baseline", "end"], len(hits)
    known = asked[asked["variant"] == "baseline"]
    # Of all answers in a random order, a right one is among the first k.
    chance = 1 - hypergeom.pmf(0, known["among"], known["right"], k).mean()
    labels = {
        (variant["id"], name): variant["label"] for variant in variants for name in CHECKPOINTS
    }
    differences = hits[list(labels)].sub(before, axis=0)
    of_picture = differences.groupby("picture")
    sums, questions = of_picture.sum().to_numpy().T, of_picture.size().to_numpy()
    resampled = statistics.bootstrap(np.vstack([sums, questions]))
    resampled = resampled[:, :-1] / resampled[:, -1:]
    rows = []
    for number, (variant, name) in enumerate(labels):
        bounds = statistics.percentile_interval(resampled[:, number])
        rows.append(
            {
                "n": n,
                "answers": known["among"].iloc[0],
                "chance": 100 * chance,
                "variant": variant,
                "label": labels[variant, name],
                "checkpoint": name,
                "seeds": scores.seeds_of(asked.loc[asked["variant"] == variant, "seed"]),
            }
            | _share("before", before.mean(), len(questions))
            | _share("after", hits[variant, name].mean(), len(questions))
            | _percent("difference", differences[variant, name].mean(), *bounds)
        )
    return rows


def _share(name: str, share: float, n: int) -> dict[str, float]:
    return _percent(name, share, *statistics.wilson(share, n))


def _percent(name: str, *values: float) -> dict[str, float]:
    return {f"{name}{bound}": 100 * value for bound, value in zip(BOUNDS, values, strict=True)}


def make_retention(
    answered: list[str],
    csv: str,
    markdown_file: str,
    *,
    variants: list[dict[str, str]],
    scale: str,
) -> None:
    """Publish `retention` of what `retention.measure` wrote as CSV, and its sheets as Markdown."""
    table = retention(pd.concat(map(pd.read_parquet, answered)), variants, scale)
    write_csv(table, csv)
    write_text("\n".join(markdown(sheet) for sheet in sheets(table)), markdown_file)


def sheets(table: pd.DataFrame) -> list[Sheet]:
    """One sheet a task: what each variant does at its first answer, and how far from before.

    table: of `retention`, or its CSV.
    """
    return [_sheet(task, rows) for task, rows in table.groupby("task", sort=False)]


def _sheet(task: str, table: pd.DataFrame) -> Sheet:
    shown = [name for name in table["measure"].unique() if MEASURES[name][1] == 1]
    columns = [(measure, name) for measure in shown for name in CHECKPOINTS]
    known = table.drop_duplicates("measure").set_index("measure")
    before = [Cell(f"{known['before'][measure]:.2f}") for measure, _ in columns]
    rows = [[Cell(scores.BASELINE["label"]), *before]]
    for _, own in table.groupby("variant", sort=False):
        after = own.set_index(["measure", "checkpoint"]).to_dict("index")
        rows.append([Cell(own["label"].iloc[0]), *(_cell(after[column]) for column in columns)])
    return Sheet(
        f"Retention on {task}: what learning to count cost elsewhere",
        ["Configuration", *(f"{m}, {scores.CHECKPOINTS[name]} (%)" for m, name in columns)],
        rows,
        [
            *(f"{measure}: n = {known['n'][measure]}, by chance {known['chance'][measure]:.2f} %."
              for measure in shown),
            "In brackets the difference to the untouched model and its 95 % interval, of a paired"
            " bootstrap over the same pictures, each with all of its captions; ▼ and ▲ where that"
            " leaves out zero. Each stands for itself: of many some are marked by chance.",
            "Top-1: the class whose averaged prompts are most similar. Recall@1: the most similar"
            " caption, or picture, is a right one. A wrong one as similar as that goes before it.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )  # fmt: skip


def _cell(row: dict[str, Any]) -> Cell:
    low, high = row["difference_low"], row["difference_high"]
    mark = " ▲" if low > 0 else " ▼" if high < 0 else ""
    return Cell(f"{row['after']:.2f}", f"[{row['difference']:+.2f}: {low:+.2f}, {high:+.2f}]{mark}")


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

    runs: variant -> what `wise_ft.sweep` wrote for each of its seeds. n: images of the benchmark.
    `retention` is the mean over the tasks. `best_on_benchmark` marks a variant's alpha with the
    highest mean of the benchmark's accuracy and retention, chosen on the test images themselves;
    `selected` that with the held-out pairs' accuracy in its place, so that its accuracy on the
    benchmark is honest; its retention is of the very pictures that it was chosen by. Of equals the
    smallest.
    """
    parts = []
    for variant in variants:
        mean = pd.concat(runs[variant["id"]]).groupby("alpha", as_index=False).mean()
        accuracy, kept = mean["benchmark_accuracy"], mean[tasks].mean(axis=1)
        low, high = np.transpose([statistics.wilson(share, n) for share in accuracy])
        best = (accuracy + kept).idxmax(), (mean["heldout_accuracy"] + kept).idxmax()
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
            "retention": 100 * kept,
            **{f"retention_{name}": 100 * mean[name] for name in tasks},
            "best_on_benchmark": mean.index == best[0],
            "selected": mean.index == best[1],
            "scale": scale,
        }  # fmt: skip
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def make_wise_ft(runs: list[str], csv: str, *, rows: dict[int, int], **about: Any) -> None:
    """Publish `wise_ft` as CSV. runs: paths <variant>/seed<seed>.csv of
    `wise_ft.sweep`; rows: of the benchmark's variant that is counted; about: the other arguments.
    """
    by_variant: dict[str, list[pd.DataFrame]] = {}
    for path in runs:
        by_variant.setdefault(Path(path).parent.name, []).append(pd.read_csv(path))
    table = wise_ft(by_variant, len(rows), **about)
    exact = table["alpha"].map("{:g}".format)  # two decimals would make 0.125 another alpha
    write_csv(table.assign(alpha=exact), csv)
