"""Numbers of Table 1: accuracies, intervals, paired tests and controls, in full precision.

One row for the pretrained baseline, each variant, and two controls. A share is the mean over the
seeds; its 95 % interval is Wilson's on that mean with n images (`statistics.wilson`), and beside it
the bootstrap's over the images. Differences are paired: the same images, resampled together.

A tie counts as the number that was predicted, the lowest of the equals; the column `ties` counts
them.

The controls show whether the benchmark itself gives answers away; each is the mean over all models
of the table at the end of training. `control_shuffled` measures them on the true numbers in a
shuffled order, `control_text_only` measures what they answer from the captions alone, with the mean
image in the place of every image. Chance is one in nine.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from countclip.data import number_words
from countclip.data.number_words import NUMBERS
from countclip.report import sheets, statistics

CHECKPOINTS = {
    "end": "end of training",
    "best_on_benchmark": "best on the benchmark",
    "selected": "selected on held-out data",
}
BASELINE = {"id": "baseline", "label": "baseline, not fine-tuned"}
"""The pretrained model; of several the first, and `baseline-<id>` each other one."""
CONTROLS = {
    "control_shuffled": "control: true numbers shuffled",
    "control_text_only": "control: captions without images",
}
CHANCE = 100 / len(NUMBERS)
"""Accuracy of guessing, in percent."""
OTHERS = ("baseline", "reference")
"""What every variant is compared with."""
COLUMNS = [
    *("variant", "label", "scheduler", "lambda_scheme", "loss"),
    *("benchmark", "n", "n_per_class"),
    *(f"accuracy_{name}{bound}" for name in CHECKPOINTS for bound in ("", "_low", "_high")),
    *("paper_end", "paper_best", "mae", "off_by_one", "ties", "p_end_vs_baseline"),
    *("seeds", "scale"),
    # Bootstrap and seeds; a column that names no checkpoint is of the end of training.
    *(f"accuracy_{name}_{of}" for name in CHECKPOINTS for of in ("boot_low", "boot_high", "sd")),
    "macro_f1",
    *(f"difference_{other}{bound}" for other in OTHERS for bound in ("", "_low", "_high")),
    *(f"p_bootstrap_vs_{other}" for other in OTHERS),
    *("p_end_vs_baseline_holm", "p_end_vs_reference", "p_end_vs_reference_holm", "reference"),
    *(f"paper_{name}_{what}" for name in ("end", "best") for what in ("difference", "inside")),
]
PAPER = {"end": "end", "best": "best_on_benchmark"}
"""The paper's columns and our checkpoints."""


def is_baseline(variants: pd.Series) -> pd.Series:
    """Which ids of variants are pretrained models'."""
    return variants.eq(BASELINE["id"]) | variants.str.startswith(f"{BASELINE['id']}-")


def baseline_of(table: pd.DataFrame, variant: str) -> str:
    """Id of the baseline that Table 1 compares a variant with."""
    own = table.loc[table["variant"] == variant, "baseline"] if "baseline" in table else ()
    return own.iloc[0] if len(own) and isinstance(own.iloc[0], str) else BASELINE["id"]


def read_table1(csv_path: str) -> pd.DataFrame:
    """The table of `table1` from its CSV."""
    return sheets.read_csv(csv_path, seeds=str, n_per_class=str, ties="Int64")


def load_predictions(paths: list[str], rows: dict[int, int]) -> pd.DataFrame:
    """All predictions on `rows` (countbench.rows_of) in one frame, with `right`.

    ValueError when runs saw different images, or not all of these.
    """
    frames = [pd.read_parquet(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        for name, images in frame.groupby("checkpoint"):
            if not np.array_equal(images["index"], frames[0]["index"].unique()):
                raise ValueError(
                    f"{path}: checkpoint {name} was measured on other images than {paths[0]}:"
                    " delete both and run again"
                )
    if lacking := sorted(set(rows).difference(frames[0]["index"])):
        raise ValueError(
            f"{paths[0]}: no prediction for rows {lacking} of the benchmark: delete all predictions"
            " and run again"
        )
    table = pd.concat(frames, ignore_index=True)
    table = table[table["index"].isin(rows)].reset_index(drop=True)
    return table.assign(right=table["prediction"] == table["number"])


def with_seeds(parts: list[pd.DataFrame], runs: pd.DataFrame) -> pd.DataFrame:
    """`parts` as one table, with the `seeds` of each row's variant in `runs`, as "1 2 3".

    The pretrained baseline has no seed.
    """
    table = pd.concat(parts, ignore_index=True)
    trained = runs[~is_baseline(runs["variant"])].groupby("variant")["seed"]
    return table.assign(seeds=table["variant"].map(trained.agg(seeds_of)).fillna(""))


def seeds_of(column: pd.Series) -> str:
    """The seeds of some runs in a cell: "1 2 3"."""
    return " ".join(map(str, sorted(column.unique())))


def matrix(predictions: pd.DataFrame, variant: str, checkpoint: str) -> np.ndarray:
    """(9, 9) confusion counts of a variant, its seeds added up.

    The baseline has one state, which stands for every checkpoint.
    """
    return _matrix(_state(predictions, variant, checkpoint))


def _matrix(rows: pd.DataFrame) -> np.ndarray:
    return statistics.confusion_matrix(
        rows["number"].to_numpy(), rows["prediction"].to_numpy(), NUMBERS
    )


def _state(predictions: pd.DataFrame, variant: str, checkpoint: str) -> pd.DataFrame:
    """The predictions of a variant at a checkpoint, of all its seeds."""
    checkpoint = "end" if _is_pretrained(variant) else checkpoint
    rows = predictions.query("variant == @variant and checkpoint == @checkpoint")
    if rows.empty:
        raise ValueError(f"no predictions of variant {variant!r}, checkpoint {checkpoint!r}")
    return rows


def _is_pretrained(variant: str) -> bool:
    return is_baseline(pd.Series([variant])).item()


def with_controls(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions, and those of the controls under their ids.

    Each model of the table is a `seed` of a control: its answers compared with shuffled numbers, or
    its answers without the image.
    """
    ends = predictions.query("checkpoint == 'end'")
    ends = ends.assign(seed=ends.groupby(["variant", "seed"]).ngroup())
    numbers = ends.groupby("index")["number"].first()
    shuffled = pd.Series(np.random.default_rng(0).permutation(numbers), numbers.index)
    controls = [
        ends.assign(variant="control_shuffled", number=ends["index"].map(shuffled)),
        ends.assign(variant="control_text_only", prediction=ends["text_only"], tie=False),
    ]
    table = pd.concat([predictions, *controls], ignore_index=True)
    return table.assign(right=table["prediction"] == table["number"])


def table1(
    predictions: pd.DataFrame,
    variants: list[dict[str, str]],
    paper: pd.DataFrame,
    benchmark: str,
    scale: str,
    reference: str | None = None,
    baselines: Sequence[dict[str, str]] = (),
) -> pd.DataFrame:
    """Table 1 with the columns COLUMNS; shares in percent, differences in percentage points.

    benchmark: the variant of CountBench whose rows `predictions` holds, or another benchmark's id.
    variants: id, label, schedule, lambda_scheme and loss of each, in the order of the rows.
    paper: variant, end and best, the paper's values in percent; empty for another benchmark.
    reference: the variant that the others are compared with beside the baseline.
    baselines: id and label of each base model, where there are several; `baseline` of a variant is
        then the one that it is compared with, and a last column of the table.

    Each p value is of the end of training: McNemar's exact test on the same images, `_holm`
    corrected after Holm over all of these tests in the table; `p_bootstrap_` that of the paired
    bootstrap. With several seeds each is tested against the same seed of the other model
    (statistics.combined), and the bootstrap takes an image's mean over the seeds.
    """
    paper = paper.set_index("variant")
    predictions = with_controls(predictions)
    models = [
        *(baselines or [BASELINE]),
        *variants,
        *({"id": i, "label": text} for i, text in CONTROLS.items()),
    ]
    scores = _scores(predictions, [model["id"] for model in models])
    means = pd.DataFrame(statistics.bootstrap(scores.T.to_numpy()), columns=scores.columns)
    per_class = number_words.per_class(_state(predictions, "baseline", "end")["number"])
    rows = []
    for model in models:
        name = model["id"]
        end = _state(predictions, name, "end")
        row = {
            "variant": name,
            "label": model["label"],
            "scheduler": model.get("schedule", ""),
            "lambda_scheme": model.get("lambda_scheme", ""),
            "loss": model.get("loss", ""),
            "benchmark": benchmark,
            "n": len(scores),
            "n_per_class": " ".join(map(str, per_class.values())),
            "mae": statistics.mae(_matrix(end), NUMBERS),
            "off_by_one": 100 * statistics.off_by_one(_matrix(end), NUMBERS),
            "macro_f1": 100 * np.mean([statistics.macro_f1(m) for m in _each_seed(end)]),
            "ties": pd.NA if name in CONTROLS else int(end["tie"].sum()),
            "seeds": "",
            "reference": reference or "",
            "scale": scale,
        }
        for checkpoint in _checkpoints(name):
            row |= _accuracy(predictions, means[name, checkpoint], name, checkpoint)
        if model in variants:
            row["seeds"] = seeds_of(end["seed"])
            own = model.get("baseline", BASELINE["id"])
            row["baseline"] = own
            for role, other in zip(OTHERS, (own, reference), strict=True):
                if other not in (None, name):
                    row |= _compared(predictions, means, name, other, role)
        if name in paper.index:
            row |= _beside_paper(row, paper.loc[name])
        rows.append(row)
    columns = [*COLUMNS, "baseline"] if baselines else COLUMNS
    table = pd.DataFrame(rows, columns=columns).astype({"ties": "Int64"})
    p_columns = [f"p_end_vs_{other}" for other in OTHERS]
    corrected = statistics.holm(table[p_columns].to_numpy(float).ravel()).reshape(-1, len(OTHERS))
    table[[f"{column}_holm" for column in p_columns]] = corrected
    return table


def _checkpoints(variant: str) -> list[str]:
    return ["end"] if variant in CONTROLS else list(CHECKPOINTS)


def _scores(predictions: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    """Share of seeds that are right: one row an image, one column a (variant, checkpoint)."""
    states = [(name, checkpoint) for name in variants for checkpoint in _checkpoints(name)]
    return pd.DataFrame(
        {state: _state(predictions, *state).groupby("index")["right"].mean() for state in states}
    )


def _each_seed(rows: pd.DataFrame) -> list[np.ndarray]:
    return [_matrix(run) for _, run in rows.groupby("seed")]


def _accuracy(
    predictions: pd.DataFrame, means: pd.Series, variant: str, checkpoint: str
) -> dict[str, float]:
    """Accuracy of one state in percent, both intervals, and the standard deviation of its seeds."""
    rows = _state(predictions, variant, checkpoint)
    share = statistics.accuracy(_matrix(rows))
    low, high = statistics.wilson(share, rows["index"].nunique())
    boot_low, boot_high = statistics.percentile_interval(means)
    values = {"": share, "_low": low, "_high": high, "_boot_low": boot_low, "_boot_high": boot_high}
    values["_sd"] = pd.Series(map(statistics.accuracy, _each_seed(rows))).std()  # nan of one seed
    return {f"accuracy_{checkpoint}{key}": 100 * value for key, value in values.items()}


def _compared(
    predictions: pd.DataFrame, means: pd.DataFrame, variant: str, other: str, role: str
) -> dict[str, float]:
    """Paired difference of a variant to another model at the end of training.

    role: of the other model in the columns' names, one of OTHERS.
    """
    runs, others = _state(predictions, variant, "end"), _state(predictions, other, "end")
    resampled = means[variant, "end"] - means[other, "end"]
    low, high = statistics.percentile_interval(resampled)
    p_values = []
    for seed, run in runs.groupby("seed"):
        same = others if role == "baseline" else others[others["seed"] == seed]
        p_values.append(statistics.mcnemar(run["right"].to_numpy(), same["right"].to_numpy()))
    return {
        f"difference_{role}": 100 * (runs["right"].mean() - others["right"].mean()),
        f"difference_{role}_low": 100 * low,
        f"difference_{role}_high": 100 * high,
        f"p_bootstrap_vs_{role}": statistics.bootstrap_p(resampled),
        f"p_end_vs_{role}": statistics.combined(p_values),
    }


def _beside_paper(row: dict, values: pd.Series) -> dict[str, float | str]:
    """The paper's values, how much higher ours are, and whether theirs lie in our interval."""
    columns = {}
    for name, checkpoint in PAPER.items():
        ours, low, high = (row[f"accuracy_{checkpoint}{b}"] for b in ("", "_low", "_high"))
        columns[f"paper_{name}"] = values[name]
        columns[f"paper_{name}_difference"] = ours - values[name]
        columns[f"paper_{name}_inside"] = "yes" if low <= values[name] <= high else "no"
    return columns


def per_class(
    predictions: pd.DataFrame, variants: list[str], baselines: Sequence[str] = (BASELINE["id"],)
) -> pd.DataFrame:
    """Precision, recall and F1 in percent, and the row of the confusion matrix, of each class.

    One row a variant, checkpoint and true number, seeds added up. The recall is the accuracy on the
    class; recall and F1 of a class without images are nan.
    """
    predictions = with_controls(predictions)
    frames = []
    for variant in [*baselines, *variants, *CONTROLS]:
        for checkpoint in _checkpoints(variant):
            counts = matrix(predictions, variant, checkpoint)
            figures = {key: 100 * value for key, value in statistics.per_class(counts).items()}
            frame = pd.DataFrame({"number": NUMBERS, "answers": counts.sum(axis=1), **figures})
            frame.loc[frame["answers"] == 0, ["recall", "f1"]] = np.nan
            frame[[f"predicted_{number}" for number in NUMBERS]] = counts
            frames.append(frame.assign(variant=variant, checkpoint=checkpoint))
    table = pd.concat(frames, ignore_index=True)
    return table[["variant", "checkpoint", *table.columns.drop(["variant", "checkpoint"])]]
