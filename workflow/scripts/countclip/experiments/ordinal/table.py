"""The table of ordinal regression as readers see it: every method on the same folds, with notes."""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from countclip.experiments.ordinal import metrics
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.predictions import DECODINGS, read_predictions
from countclip.experiments.ordinal.scores import (
    BEST_ON_TEST,
    LOWER_IS_BETTER,
    MEASURES,
    PUBLISHED,
    ROLES,
    bin_table,
    table,
)
from countclip.report import pages, sheets, statistics
from countclip.report.sheets import ONE_DECIMAL, SIGNED, TWO_DECIMALS, Cell, Sheet, p_value

log = logging.getLogger(__name__)

CONSTANT = "constant"
"""Id of the method that ignores the image."""
FORMATS = {
    **{f"{name}{of}": TWO_DECIMALS for name in MEASURES for of in ("", "_low", "_high", "_sd")},
    **{f"difference_{role}": SIGNED for role in ROLES},
    **{f"difference_{role}{of}": TWO_DECIMALS for role in ROLES for of in ("_low", "_high")},
    **{f"difference_{role}_percent": "{:+.1f}".format for role in ROLES},
    **{f"p_{kind}_{role}_holm": p_value for kind in ("mae", "accuracy") for role in ROLES},
    **{f"{name}_best_on_test": TWO_DECIMALS for name in BEST_ON_TEST},
    **{f"published_{name}{of}": TWO_DECIMALS for name in PUBLISHED for of in ("", "_sd")},
}
"""Of each number that the sheets show."""
DEVIATIONS = [
    "Images are normalised as CLIP's were, not with ImageNet's mean and standard deviation.",
    "Checkpoints are selected on a validation part of the training fold; the released settings of"
    " MORPH II and aesthetics select on the test images.",
    "Bins hold the true labels; the released code first subtracts 1 from each label.",
    "Images keep their proportions and are cropped at the centre; the released code squashes them,"
    " and crops at random in training.",
    "Regressors compute in float32, and the ratio head divides by 0.1 or more; the released code"
    " uses fp16, and may divide by 0.",
    "Expectation is the regressor's value on every task; the released code decodes dating and"
    " aesthetics by the plain softmax, without its regressor.",
    "RAdam takes steps of plain momentum at first, as torch has it; that of the released code makes"
    " no update then.",
    "Learnt words are the concepts' alone, unless a method learns the context too; the released"
    " settings of aesthetics do.",
]
"""From NumCLIP's released code, on every task."""


def make_table(
    predictions: list[str],
    *,
    published_csv: str,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    per_bin_csv: str,
    labels: dict[str, str],
    two_by_two: dict[tuple[str, str], str],
    bins: Bins,
    task: str,
    subject: str,
    deviations: list[str],
    scale: str,
    best_on_test: list[str] | None = None,
    folds_json: str | None = None,
) -> None:
    """Publish the table as CSV, JSON and Markdown, and the errors of each bin as CSV.

    predictions: paths of `read_predictions`; best_on_test: the same with the checkpoints that did
        best on the test part.
    published_csv: task, method, label, measure, value, sd and source of published numbers. task: id
        in it; another has no published number.
    labels: method -> label, in the order of the rows. two_by_two: (loss, regressor) -> method.
    subject: what is told of what, for titles. deviations: of this task, beside DEVIATIONS.
    folds_json: summary of `data.make_folds`, of which a note tells how the folds came to be.
    """
    loaded = read_predictions(predictions)
    published = sheets.read_csv(published_csv)
    published = published[published["task"] == task]
    best = read_predictions(best_on_test) if best_on_test else None
    numbers = table(loaded, labels, bins, published, scale, best)
    of_bins = bin_table(loaded, labels, bins, scale)
    sheets.write_csv(numbers, csv_path)
    sheets.write_csv(of_bins, per_bin_csv)
    title = f"Ordinal regression of {subject}"
    views = [
        scores_sheet(
            numbers,
            of_bins,
            published,
            title,
            [*DEVIATIONS, *deviations],
            folds_notes(json.loads(Path(folds_json).read_text("utf-8"))) if folds_json else [],
        ),
        two_by_two_sheet(numbers, two_by_two),
        differences_sheet(numbers),
        bins_sheet(of_bins),
    ]
    for view in views[1:]:
        view.title = f"{view.title}: {subject}"
    sheets.write_sheets(views, json_path, markdown_path)
    log.info("%s\n%s", title, numbers[["method", "decoding", "mae"]].to_string(index=False))


def join_tables(tables: dict[str, str], csv_path: str) -> None:
    """Publish the CSVs of some sets (id -> path) as one, with the id as its first column `set`."""
    parts = [sheets.read_csv(path) for path in tables.values()]
    for name, part in zip(tables, parts, strict=True):
        part.insert(0, "set", name)
    sheets.write_csv(pd.concat(parts, ignore_index=True), csv_path)


def scores_sheet(
    table: pd.DataFrame,
    bins: pd.DataFrame,
    published: pd.DataFrame,
    title: str,
    deviations: list[str],
    of_folds: list[str],
) -> Sheet:
    """Each row's measures with their intervals over the folds, the best of each marked."""
    best = {
        name: table[name].min() if name in LOWER_IS_BETTER else table[name].max()
        for name in MEASURES
    }
    chosen_on_test = [name for name in BEST_ON_TEST if table[f"{name}_best_on_test"].notna().any()]
    shown = [name for name in PUBLISHED if table[f"published_{name}"].notna().any()]
    lines = []
    for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True):
        cells = [Cell(row["label"]), Cell(_decoding(row))]
        for name in MEASURES:
            cells.append(_mean(text, name)._replace(best=bool(row[name] == best[name])))
        cells += [Cell(text[f"{name}_best_on_test"] or "–") for name in chosen_on_test]
        for name in shown:
            value, sd = text[f"published_{name}"], text[f"published_{name}_sd"]
            inside = {"yes": "inside", "no": "outside"}.get(row[f"published_{name}_inside"], "")
            cells.append(Cell(f"{value} ± {sd}" if sd else value or "–", inside))
        lines.append(cells)
    headers = ["Method", "Decoding", *MEASURES.values()]
    headers += [f"{MEASURES[name]}, best on test" for name in chosen_on_test]
    headers += [f"Published, {MEASURES[name]}" for name in shown]
    stamp = pages.stamp(table["scale"].iloc[0])
    heading = f"{title}: {len(table)} rows, {table['folds'].iloc[0]} folds"
    heading = f"{heading}. {stamp.short}" if stamp else heading
    notes = [*of_folds, *score_notes(table, bins, published, deviations)]
    return Sheet(heading, headers, lines, notes, stamp)


def folds_notes(summary: dict[str, Any]) -> list[str]:
    """How the folds came to be, and how many test images are of a group that is in training too.

    summary: of `data.make_folds`.
    """
    folds = summary["folds"].values()
    tested = sum(fold["images"]["test"] for fold in folds)
    shared = sum(fold["shared_with_training"]["test_images"] for fold in folds)
    leaked = (
        f" {shared:,} of {tested:,} test images ({100 * shared / tested:.1f} %) show a group, such"
        " as a person, of the training part, so errors are too low for others."
    )
    return [f"Folds: {summary['folds_are']}.{leaked if shared else ''}"]


def _mean(text: dict[str, str], name: str) -> Cell:
    """A mean over the folds with its interval, which a single fold does not have."""
    low, high = text[f"{name}_low"], text[f"{name}_high"]
    return Cell(text[name] or "–", f"[{low}, {high}]" if low else "")


def _decoding(row: dict[str, Any]) -> str:
    names = {"argmax": "mode", "expectation": "median"} if row["method"] == CONSTANT else {}
    return names.get(row["decoding"], row["decoding"])


def score_notes(
    table: pd.DataFrame, bins: pd.DataFrame, published: pd.DataFrame, deviations: list[str]
) -> list[str]:
    """What a reader must know to read the scores right."""
    first = table.iloc[0]
    n = bins.drop_duplicates("bin")
    grouped = first["groups"] < first["images"]
    of_groups = f" of {first['groups']} groups" if grouped else ""
    return [
        f"n = {first['n']} predictions in {first['folds']} folds, of {first['images']} different"
        f" images{of_groups}, the same for every row. Predictions per bin:"
        f" {', '.join(f'{row.word} {row.n}' for row in n.itertuples())}.",
        f"Each value is the mean over the folds{_over_seeds(table)}; brackets hold Student's 95 %"
        " confidence interval over them. Folds share most of their training images, so these"
        " intervals are rather too narrow. They are cut to the values that a measure can have.",
        "Decoding: argmax is the midpoint of the most probable bin (for number prompts, the most"
        " probable number), expectation the expected midpoint (number), or the regressor's value"
        " where a method has one. Accuracy, off by one and QWK under expectation are of the bin"
        " nearest to this value. The constant's are the mode and the median of the training"
        " labels.",
        "MAE, macro MAE (mean over the labels, so that rare ones count): in units of the label."
        f" Off by one: at most one bin away. CS({metrics.CUMULATIVE}): error of at most"
        f" {metrics.CUMULATIVE} units. QWK: kappa with quadratic weights. RPS: ranked probability"
        " score, of the bins' probabilities and so the same under both decodings. Spearman: rank"
        " correlation of label and prediction.",
        *_best_notes(table),
        _constant_note(table),
        *(f"Deviation from NumCLIP's released code: {text}" for text in deviations),
        *_published_notes(table, published),
        "▲ marks the best value of a column.",
    ]


def _over_seeds(table: pd.DataFrame) -> str:
    seeds = table["seeds"].max()
    return f", of a fold the mean over the {seeds} seeds of a training" if seeds > 1 else ""


def _best_notes(table: pd.DataFrame) -> list[str]:
    if table["mae_best_on_test"].isna().all():
        return []
    return [
        "“Best on test” is the protocol of released settings: the checkpoint was chosen by its MAE"
        " on the same images that it is measured on, so it is optimistic. All other values are of"
        " the checkpoint selected on the validation part. Both go by the MAE of the expectation."
        " That handicaps rows under argmax, such as CE: another checkpoint may be better there."
    ]


def _constant_note(table: pd.DataFrame) -> str:
    constant = table.loc[table["method"] == CONSTANT, "mae"]
    if constant.empty:
        return "No row ignores the image, so nothing says what the images are worth."
    lowest = constant.min()
    worse = table[(table["method"] != CONSTANT) & ~(table["mae"] < lowest)]
    rows = ", ".join(f"{row.label} ({row.decoding})" for row in worse.itertuples())
    return (
        f"An answer that ignores the image has an MAE of {TWO_DECIMALS(lowest)} (constant). Rows"
        f" that are no better: {rows or 'none'}."
    )


def _published_notes(table: pd.DataFrame, published: pd.DataFrame) -> list[str]:
    if published.empty:
        return []
    rest = published[~published["method"].isin(table["method"])]
    others = "; ".join(
        f"{label}: {', '.join(map(_published, rows.itertuples()))}"
        for label, rows in rest.groupby("label", sort=False)
    )
    return [
        "Published values (mean ± standard deviation) are of other folds, so differences from ours"
        " are not tested; inside, outside: whether they lie in our interval. They stand beside both"
        f" decodings. Sources: {'; '.join(published['source'].unique())}.",
        *([f"Published for methods that are no row here: {others}."] if others else []),
    ]


def _published(row: Any) -> str:
    sd = "" if pd.isna(row.sd) else f" ± {row.sd:g}"
    return f"{MEASURES[row.measure]} {row.value:g}{sd}"


def two_by_two_sheet(table: pd.DataFrame, two_by_two: dict[tuple[str, str], str]) -> Sheet:
    """MAE of each loss with and without regressor: what either brings.

    two_by_two: (loss, regressor) -> method; methods that are no row of the table have a dash.
    """
    texts = sheets.texts(table, FORMATS)
    cells = {
        (method, decoding): _mean(text, "mae")
        for method, decoding, text in zip(table["method"], table["decoding"], texts, strict=True)
    }
    losses = list(dict.fromkeys(loss for loss, _ in two_by_two))
    columns = [(regressor, decoding)
               for regressor in dict.fromkeys(regressor for _, regressor in two_by_two)
               for decoding in DECODINGS]  # fmt: skip
    lines = [
        [
            Cell(loss),
            *(cells.get((two_by_two[loss, regressor], decoding), Cell("–"))
              for regressor, decoding in columns),
        ]
        for loss in losses
    ]  # fmt: skip
    return Sheet(
        "What the loss and the regressor bring to the MAE",
        ["Loss", *(f"{regressor}, {decoding}" for regressor, decoding in columns)],
        lines,
        ["The cells differ in nothing but the loss and the regressor. Brackets as above."],
        pages.stamp(table["scale"].iloc[0]),
    )


def differences_sheet(table: pd.DataFrame) -> Sheet:
    """MAE of each row minus that of each reference, with its interval and corrected p."""
    roles = [role for role in ROLES if table[f"difference_{role}"].notna().any()]
    lines = []
    for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True):
        cells = [Cell(row["label"]), Cell(_decoding(row))]
        for role in roles:
            key = f"difference_{role}"
            if not text[key]:
                cells += [Cell("–")] * 3
                continue
            percent = f" ({text[key + '_percent']} %)" if text[f"{key}_percent"] else ""
            cells += [
                Cell(f"{text[key]}{percent}", f"[{text[key + '_low']}, {text[key + '_high']}]"),
                *(
                    Cell(_at_most(row[f"p_{kind}_{role}"]) + text[f"p_{kind}_{role}_holm"])
                    for kind in ("mae", "accuracy")
                ),
            ]
        lines.append(cells)
    first = table.iloc[0]
    grouped = first["groups"] < first["images"]
    unit = "groups (images of one group are drawn together)" if grouped else "images"
    states = zip(table["method"], table["decoding"], strict=True)
    tests = len({frozenset((state, ROLES[role][:2])) for state in states for role in roles
                 if state != ROLES[role][:2]})  # fmt: skip
    return Sheet(
        "Differences of MAE to zero-shot and to coarse CE",
        [
            *("Method", "Decoding"),
            *(text for role in roles for text in (f"To {ROLES[role][2]}", "p, MAE", "p, accuracy")),
        ],
        lines,
        [
            f"Differences are paired, over all {first['n']} test predictions of all folds; negative"
            " is better. They can differ from those of the fold means where folds have unequal"
            f" sizes. Brackets: 95 % interval of the paired bootstrap over {unit}, not corrected.",
            f"p: two-sided sign-flip tests over the same {'groups' if grouped else 'images'}, of"
            " the absolute errors and of the right bins"
            f"{'' if grouped else ' (McNemar’s test, if no image is in two folds)'}."
            " Holm-corrected, each over all pairs of rows that are compared here, each pair once."
            f" With {statistics.FLIPS:,} random signs and {tests} tests no corrected p of a"
            f" sign-flip test is below {p_value(tests * statistics.least_p(statistics.FLIPS))}; ≤"
            " marks those that may be smaller.",
            "Intervals and p values cover the choice of test images, not that of folds, and not"
            " another training.",
        ],
        pages.stamp(first["scale"]),
    )


def _at_most(p: float) -> str:
    """≤ before a corrected p value whose test can show none smaller than `p`."""
    return "≤ " if statistics.is_least(p, statistics.least_p(statistics.FLIPS)) else ""


def bins_sheet(bins: pd.DataFrame) -> Sheet:
    """MAE of each row in each bin, the lowest marked."""
    lowest = bins.groupby("bin")["mae"].min()
    texts = sheets.texts(bins, {"mae": TWO_DECIMALS, "accuracy": ONE_DECIMAL})
    bins = bins.assign(text=[text["mae"] for text in texts],
                       share=[text["accuracy"] for text in texts])  # fmt: skip
    lines = []
    for _, rows in bins.groupby(["method", "decoding"], sort=False):
        first = rows.iloc[0]
        cells = (
            Cell(row.text, f"[{row.share} %]", bool(row.mae == lowest[row.bin]))
            if row.n
            else Cell("–")
            for row in rows.itertuples()
        )
        lines.append([Cell(first["label"]), Cell(_decoding(first.to_dict())), *cells])
    of_bins = bins.drop_duplicates("bin")
    return Sheet(
        "MAE by bin",
        ["Method", "Decoding", *(f"{row.word}, n = {row.n}" for row in of_bins.itertuples())],
        lines,
        ["Of all test predictions of all folds; in brackets the accuracy of the bin. The CSV also"
         " has the bias, the mean of prediction minus label. ▲ marks the lowest error of a bin."],
        pages.stamp(bins["scale"].iloc[0]),
    )  # fmt: skip
