"""The table of text domains: training on captions or mixed texts, by prompts of each domain."""

from typing import Any

import numpy as np
import pandas as pd

from countclip.experiments.soft_labels.scores import BOUNDS, described
from countclip.report import pages, sheets, statistics
from countclip.report.sheets import ONE_DECIMAL, Cell, Sheet, p_value

TEXTS = {"captions": "captions", "mixed": "mixed texts"}
PROMPTS = {"label": "labels", "description": "descriptions", "both": "both"}
COLUMNS = [
    *("target", "label", "texts", "prompts", "seeds", "images"),
    *("top1", *(f"top1_{of}" for of in BOUNDS), "top1_each_seed"),
    *("difference_top1", *(f"difference_top1_{of}" for of in BOUNDS), "p_top1", "p_top1_holm"),
    "scale",
]
FORMATS = {
    **dict.fromkeys(("top1", "top1_low", "top1_high"), ONE_DECIMAL),
    "difference_top1": "{:+.1f}".format,
    **dict.fromkeys((f"difference_top1_{of}" for of in BOUNDS), ONE_DECIMAL),
    "p_top1_holm": p_value,
}


def make_table(
    answers_parquet: str,
    *,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    labels: dict[str, str],
    shares: dict[str, float],
    scale: str,
) -> None:
    """Publish the table as CSV, JSON and Markdown.

    answers_parquet: of `classify.classify_domains`. labels: target -> label, in the rows' order.
    shares: of the domains in mixed texts, for a note.
    """
    numbers = table(pd.read_parquet(answers_parquet), labels, scale)
    sheets.write_csv(numbers, csv_path)
    sheets.write_sheets([sheet(numbers, shares)], json_path, markdown_path)


def table(answers: pd.DataFrame, labels: dict[str, str], scale: str) -> pd.DataFrame:
    """One row a target, kind of training texts and kind of prompts.

    Differences are of mixed texts to captions, under the same prompts, images and seeds; their p
    values are corrected over all of them.
    """
    rows: list[dict[str, Any]] = []
    scores, differences = [], {}
    for target, label in labels.items():
        for texts in TEXTS:
            for prompts in PROMPTS:
                hits = _hits(answers, target, texts, prompts)
                if texts == "mixed":
                    differences[len(rows)] = hits - _hits(answers, target, "captions", prompts)
                scores.append(hits)
                rows.append(
                    {"target": target, "label": label, "texts": texts, "prompts": prompts}
                    | {"seeds": len(hits), "images": hits.shape[1], "scale": scale}
                )
    for row, columns in zip(rows, described("top1", scores), strict=True):
        row |= columns
    columns_of = described("difference_top1", list(differences.values()))
    for place, columns in zip(differences, columns_of, strict=True):
        rows[place] |= columns
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _hits(answers: pd.DataFrame, target: str, texts: str, prompts: str) -> np.ndarray:
    """Percent (seeds, images): 100 where the right class is first."""
    keys = {"target": target, "texts": texts, "prompts": prompts}
    rows = answers[(answers[list(keys)] == pd.Series(keys)).all(axis=1)]
    if rows.empty:
        raise ValueError(f"no answers of {target}, trained on {texts}, to {prompts}: make them")
    return 100.0 * (rows.pivot(index="seed", columns="index", values="rank") == 0).to_numpy()


def sheet(numbers: pd.DataFrame, shares: dict[str, float]) -> Sheet:
    """A line a target and kind of training texts, and one for what mixed texts change."""
    texts = numbers.assign(text=sheets.texts(numbers, FORMATS))
    least = statistics.least_p(statistics.FLIPS)
    lines = []
    for (label, kind), rows in texts.groupby(["label", "texts"], sort=False):
        found = [row["text"] for row in rows.to_dict("records")]
        values = [
            Cell(text["top1"], f"[{text['top1_low']}, {text['top1_high']}]") for text in found
        ]
        lines.append([Cell(label), Cell(TEXTS[kind]), *values])
        if kind == "mixed":
            changes = []
            for p, text in zip(rows["p_top1"], found, strict=True):
                bound = "≤ " if statistics.is_least(p, least) else "= "
                changes.append(
                    Cell(
                        text["difference_top1"],
                        f"[{text['difference_top1_low']}, {text['difference_top1_high']}],"
                        f" p {bound}{text['p_top1_holm']}",
                    )
                )
            lines.append([Cell(label), Cell("difference"), *changes])
    first = numbers.iloc[0]
    stamp = pages.stamp(first["scale"])
    title = "Top-1 (%) by texts of training and of prompts"
    mixed = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    return Sheet(
        f"{title}. {stamp.short}" if stamp else title,
        ["Target", "Trained on", *(f"Prompts: {name}" for name in PROMPTS.values())],
        lines,
        [
            f"Mixed texts are drawn for each pair at each step: {mixed}. A label is the names of"
            " the classes that the caption names, a description their sentences.",
            f"n = {first['images']} images, mean of {first['seeds']} seeds. Brackets hold the"
            " bootstrap's 95 % interval over the images. p: sign flips over the images,"
            " Holm-corrected over all differences.",
        ],
        stamp,
    )
