"""The table of targets as readers see it: what hard and soft labels lead to, with notes."""

import logging
from typing import Any

import pandas as pd

from countclip.experiments.soft_labels.scores import COMPARED, MEASURES, Net, table
from countclip.report import pages, sheets, statistics
from countclip.report.sheets import ONE_DECIMAL, TWO_DECIMALS, Cell, Sheet, p_value

log = logging.getLogger(__name__)

FORMATS = {
    **{f"{name}{of}": ONE_DECIMAL for name in MEASURES
       for of in ("", "_low", "_high", "_seeds_low", "_seeds_high")},
    **{f"difference_{name}": "{:+.1f}".format for name in COMPARED},
    **{f"difference_{name}_{of}": ONE_DECIMAL for name in COMPARED
       for of in ("low", "high", "seeds_low", "seeds_high")},
    **{f"p_{name}_holm": p_value for name in COMPARED},
    **dict.fromkeys(("loss", "kl", "target_diagonal"), TWO_DECIMALS),
    **dict.fromkeys(("target_partners", "logit_scale"), ONE_DECIMAL),
}  # fmt: skip
SOFTNESS = {
    "target_diagonal": "Mass on the true pair",
    "target_partners": "Other pairs with a mass",
    "loss": "Loss",
    "kl": "KL",
    "logit_scale": "Logit scale",
}


def make_table(
    predictions: dict[str, str],
    histories: dict[tuple[str, str], list[str]],
    *,
    classes_csv: str,
    published_csv: str,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    nets: dict[str, Net],
    targets: dict[str, dict[str, Any]],
    pairs: int,
    scale: str,
) -> None:
    """Publish the table as CSV, JSON and Markdown; the arguments are paths of `scores.table`'s."""
    numbers = table(
        {net: pd.read_parquet(path) for net, path in predictions.items()},
        {key: [sheets.read_csv(path) for path in paths] for key, paths in histories.items()},
        sheets.read_csv(classes_csv, text=str),
        nets=nets,
        targets=targets,
        published=sheets.read_csv(published_csv),
        pairs=pairs,
        scale=scale,
    )
    sheets.write_csv(numbers, csv_path)
    views = [scores_sheet(numbers), differences_sheet(numbers), softness_sheet(numbers)]
    sheets.write_sheets(views, json_path, markdown_path)
    log.info("%s", numbers[["net", "label", "top1", "top5", "tail"]].to_string(index=False))


def _ours(numbers: pd.DataFrame) -> pd.DataFrame:
    return numbers[numbers["net"].notna()]


def scores_sheet(numbers: pd.DataFrame) -> Sheet:
    """Accuracies with their intervals over the images, the best of each net marked."""
    lines = []
    best = _ours(numbers).groupby("net")[list(MEASURES)].max()
    for row, text in zip(numbers.to_dict("records"), sheets.texts(numbers, FORMATS), strict=True):
        is_ours = isinstance(row["net"], str)
        place = row["net_label"] if is_ours else f"published, {row['set']}"
        cells = [Cell(row["label"], "" if is_ours else "(another data set)"), Cell(place)]
        for name in MEASURES:
            bounds = [text[f"{name}_low"], text[f"{name}_high"]]
            is_best = is_ours and row[name] == best.loc[row["net"], name]
            cells.append(Cell(text[name] or "–", f"[{', '.join(bounds)}]" if bounds[0] else "",
                              bool(is_best)))  # fmt: skip
        lines.append(cells)
    ours = _ours(numbers)
    stamp = pages.stamp(ours["scale"].iloc[0])
    title = "Zero-shot accuracy after pretraining with hard and soft labels"
    title = f"{title}. {stamp.short}" if stamp else title
    return Sheet(title, ["Target", "Net", *MEASURES.values()], lines, score_notes(numbers), stamp)


def score_notes(numbers: pd.DataFrame) -> list[str]:
    """What a reader must know to read the scores right."""
    ours = _ours(numbers)
    first = ours.iloc[0]
    sizes = "; ".join(
        f"{rows['net_label'].iloc[0]}: {int(rows['steps'].iloc[0]):,} steps,"
        f" {_numbers_of(rows['seeds'])} seeds"
        for _, rows in ours.groupby("net", sort=False)
    )
    published = numbers[numbers["net"].isna()]
    return [
        f"Every model is trained from random weights on the same {int(first['pairs']):,} pairs."
        f" {sizes}. Targets of one net and seed begin with the same weights, and see the same pairs"
        " in the same order.",
        f"n = {int(first['images']):,} unseen images of {int(first['classes'])} classes; chance is"
        f" {100 / first['classes']:.1f} % (top-5: {min(100, 500 / first['classes']):.1f} %). No"
        " training, and no setting, has seen them.",
        "Each value is the mean over images and seeds. Brackets hold the bootstrap's 95 % interval"
        " over the images, each with its mean over the seeds.",
        "Head, middle and tail: top-1 on the thirds of the classes by how many training captions"
        " name them. Objects are those that the parser finds in captions, errors included.",
        "Shuffled: the objects are dealt to other captions; as soft, and all wrong.",
        *(
            f"Published: {source}. Of another data set, so compare no levels; all its rows have the"
            " rest of AlignCLIP."
            for source in published["source"].unique()
        ),
        "▲ marks the best value of a net.",
    ]


def _numbers_of(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


def differences_sheet(numbers: pd.DataFrame) -> Sheet:
    """Differences to hard labels with both intervals and corrected p values."""
    ours = _ours(numbers)
    lines = []
    for row, text in zip(ours.to_dict("records"), sheets.texts(ours, FORMATS), strict=True):
        cells = [Cell(row["label"]), Cell(row["net_label"])]
        for name in COMPARED:
            key = f"difference_{name}"
            if not text[key]:
                cells += [Cell("–")] * 3
                continue
            p = row[f"p_{name}"]
            least = "≤ " if statistics.is_least(p, statistics.least_p(statistics.FLIPS)) else ""
            over_seeds = f"[{text[f'{key}_seeds_low']}, {text[f'{key}_seeds_high']}]"
            cells += [
                Cell(text[key], f"[{text[f'{key}_low']}, {text[f'{key}_high']}]"),
                Cell(over_seeds if text[f"{key}_seeds_low"] else "–"),
                Cell(least + text[f"p_{name}_holm"]),
            ]
        lines.append(cells)
    headers = ["Target", "Net"]
    for name in COMPARED:
        title = MEASURES[name].removesuffix(" (%)")
        headers += [title, f"{title}, over seeds", f"p, {title}"]
    tests = int(ours["p_top1"].notna().sum())
    return Sheet(
        "Differences to hard labels",
        headers,
        lines,
        [
            "Points of percent, of the same net, seeds and images. Brackets hold the bootstrap's"
            " 95 % interval over the images; “over seeds” is Student's over the seeds.",
            "p: the sign of each image's mean difference over the seeds is flipped, 100,000 times"
            f" at random, Holm-corrected over the {tests} comparisons of a column. It is of these"
            " seeds; whether other seeds would agree is what the interval over seeds says.",
        ],
        pages.stamp(ours["scale"].iloc[0]),
    )


def softness_sheet(numbers: pd.DataFrame) -> Sheet:
    """How soft each target was, what the loss came to, and each seed's top-1."""
    ours = _ours(numbers)
    lines = []
    for row, text in zip(ours.to_dict("records"), sheets.texts(ours, FORMATS), strict=True):
        each = [f"{float(value):.1f}" for value in row["top1_each_seed"].split()]
        cells = [Cell(row["label"]), Cell(row["net_label"])]
        lines.append([*cells, *(Cell(text[name]) for name in SOFTNESS), Cell(", ".join(each))])
    return Sheet(
        "How soft the targets were",
        ["Target", "Net", *SOFTNESS.values(), "Top-1 of each seed (%)"],
        lines,
        [
            "Means over the seeds and the last steps of training. KL is the loss minus the entropy"
            " of the target; losses of different targets cannot be compared, KLs can.",
            "A logit scale that falls below its start, 14.3, means a target that cannot be met.",
        ],
        pages.stamp(ours["scale"].iloc[0]),
    )
