"""Numbers of the ordinal table: measures over folds, and paired tests, in full precision.

One row a method and decoding. A measure is the mean over the folds, with Student's 95 % interval
over them; of a fold it is the mean over the seeds. Differences of MAE are paired: the same test
images of all folds, resampled by group, each with its mean error over the seeds.
"""

from typing import Any

import numpy as np
import pandas as pd

from countclip.experiments.ordinal import metrics
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.predictions import DECODINGS
from countclip.report import statistics

MEASURES = {
    "mae": "MAE",
    "macro_mae": "Macro MAE",
    "accuracy": "Accuracy of bin (%)",
    "off_by_one": "Off by one (%)",
    "cs5": "CS(5) (%)",
    "qwk": "QWK",
    "rps": "RPS",
    "spearman": "Spearman",
}
"""The measures of `metrics.measures` and their headers."""
PERCENT = ("accuracy", "off_by_one", "cs5")
LOWER_IS_BETTER = ("mae", "macro_mae", "rps")
RANGES = {
    **dict.fromkeys(MEASURES, (-1, 1)),
    **dict.fromkeys(PERCENT, (0, 100)),
    **dict.fromkeys(LOWER_IS_BETTER, (0, np.inf)),
}
"""Values that a measure can have, to which its interval is cut."""
REFERENCES = {
    "zero_shot": ("zero_shot_concepts", "zero-shot"),
    "coarse_ce": ("coarse_ce", "coarse CE"),
}
"""Method and title of those that every row is compared with, under either decoding."""
ROLES = {
    f"{role}_{decoding}": (method, decoding, f"{title}, {decoding}")
    for role, (method, title) in REFERENCES.items()
    for decoding in DECODINGS
}
"""Method, decoding and title of each row that is compared with."""
PUBLISHED = BEST_ON_TEST = ("mae", "accuracy")
BOUNDS = ("", "_low", "_high")
COLUMNS = [
    *("method", "label", "decoding", "seeds", "folds", "n", "images", "groups"),
    *(f"{name}{of}" for name in MEASURES for of in (*BOUNDS, "_sd")),
    *(f"difference_{role}{of}" for role in ROLES for of in (*BOUNDS, "_percent")),
    *(f"p_{kind}_{role}{of}" for kind in ("mae", "accuracy") for role in ROLES
      for of in ("", "_holm")),
    *(f"{name}_best_on_test" for name in BEST_ON_TEST),
    *(f"published_{name}{of}" for name in PUBLISHED for of in ("", "_sd", "_inside")),
    "scale",
]  # fmt: skip


def decoded(predictions: pd.DataFrame, labels: dict[str, str], bins: Bins) -> pd.DataFrame:
    """One row a method, decoding, seed, fold and image, in this order: `value` and `predicted`.

    predicted: index of the bin: the most probable one under argmax, else the nearest to the value.
    group: that of the image, or where there is none the image itself.
    """
    parts = []
    for method in labels:
        rows = predictions[predictions["method"] == method].sort_values(["seed", "fold", "index"])
        if rows.empty:
            raise ValueError(f"no predictions of method {method!r}")
        for decoding in DECODINGS:
            values = rows[decoding]
            if values.isna().all():
                continue
            predicted = pd.Series(bins.nearest(values), rows.index)
            if decoding == "argmax":
                predicted = rows["predicted_bin"].fillna(predicted)
            parts.append(
                rows.assign(decoding=decoding, value=values, predicted=predicted.astype(int))
            )
    table = pd.concat(parts, ignore_index=True)
    group = "group " + table["group"].astype("string")
    return table.assign(group=group.fillna("image " + table["index"].astype("string")))


def table(
    predictions: pd.DataFrame,
    labels: dict[str, str],
    bins: Bins,
    published: pd.DataFrame,
    scale: str,
    best_on_test: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row a method and decoding, with COLUMNS; shares in percent.

    predictions: of `read_predictions`, with the checkpoint selected on the validation part.
    best_on_test: the same with that selected on the test part, of the methods that are trained.
    labels: method -> label, in the order of the rows. published: published numbers of this task.

    n counts predictions of a seed: images in the test part of several folds count in each.
    difference_<role>: MAE minus that of the method in REFERENCES, over all n, `_percent` of its
    MAE. p_mae_<role>: of the sign-flip test by group (statistics.sign_flips), p_accuracy_<role>:
    the same of right bins, which without groups is McNemar's. `_holm`: corrected over all pairs of
    rows that are tested, a family each.
    """
    answers = decoded(predictions, labels, bins)
    compared = _comparisons(answers)
    best = _best_on_test(best_on_test, labels, bins)
    rows = []
    for (method, decoding), of_row in answers.groupby(["method", "decoding"], sort=False):
        row = {
            "method": method,
            "label": labels[method],
            "decoding": decoding,
            "seeds": (seeds := of_row["seed"].nunique()),
            "folds": of_row["fold"].nunique(),
            "n": len(of_row) // seeds,
            "images": of_row["index"].nunique(),
            "groups": of_row["group"].nunique(),
            "scale": scale,
        }
        row |= _over_folds(of_row, len(bins)) | compared[method, decoding]
        row |= best.get((method, decoding), {})
        rows.append(row | _beside_published(row, published))
    return pd.DataFrame(rows, columns=COLUMNS)


def _best_on_test(
    predictions: pd.DataFrame | None, labels: dict[str, str], bins: Bins
) -> dict[tuple[str, str], dict[str, float]]:
    """MAE and accuracy of each method and decoding, columns named `_best_on_test`."""
    if predictions is None:
        return {}
    trained = {name: label for name, label in labels.items() if name in set(predictions["method"])}
    answers = decoded(predictions, trained, bins)
    return {
        state: {f"{name}_best_on_test": values[name] for name in BEST_ON_TEST}
        for state, rows in answers.groupby(["method", "decoding"])
        for values in [_over_folds(rows, len(bins))]
    }


def _over_folds(rows: pd.DataFrame, count: int) -> dict[str, float]:
    """Mean of each measure over the folds, its interval and its standard deviation."""
    folds = pd.DataFrame(
        [
            pd.DataFrame([_measures(run, count) for _, run in fold.groupby("seed")]).mean(
                skipna=False
            )
            for _, fold in rows.groupby("fold")
        ]
    )
    columns = {}
    for name in MEASURES:
        values = folds[name] * (100 if name in PERCENT else 1)
        low, high = np.clip(statistics.interval_of_mean(values), *RANGES[name])
        numbers = {"": values.mean(skipna=False), "_low": low, "_high": high}
        numbers["_sd"] = values.std(skipna=False)  # nan of one fold
        columns |= {f"{name}{of}": number for of, number in numbers.items()}
    return columns


def _measures(rows: pd.DataFrame, count: int) -> dict[str, float]:
    probabilities = rows["probabilities"]
    return metrics.measures(
        *(rows[name].to_numpy() for name in ("label", "value", "bin", "predicted")),
        count,
        None if probabilities.isna().any() else np.stack(probabilities),
    )


State = tuple[str, str]
"""A row of the table: method and decoding."""


def _comparisons(answers: pd.DataFrame) -> dict[State, dict[str, float]]:
    """The columns difference_ and p_ of each row of the table, paired over all test images."""
    answers = answers.assign(
        error=statistics.absolute_errors(answers["label"], answers["value"]),
        right=(answers["bin"] == answers["predicted"]).astype(float),
    )
    image, state = ["fold", "index", "group"], ["method", "decoding"]
    over_seeds = answers.groupby([*state, *image], sort=False)[["error", "right"]].mean()
    wide = over_seeds.reset_index().pivot(index=image, columns=state, values=["error", "right"])
    groups = wide.index.get_level_values("group")
    errors, rights = wide["error"], wide["right"]
    resampled = pd.DataFrame(
        statistics.bootstrap(errors.to_numpy().T, groups=groups), columns=errors.columns
    )
    states: list[State] = list(errors.columns)
    roles = {role: (method, decoding) for role, (method, decoding, _) in ROLES.items()
             if (method, decoding) in states}  # fmt: skip
    pairs = sorted({_pair(state, other) for state in states for other in roles.values()
                    if state != other})  # fmt: skip
    p_values = {"mae": _tests(errors, pairs, groups), "accuracy": _tests(rights, pairs, groups)}
    means = errors.mean()
    columns: dict[State, dict[str, float]] = {state: {} for state in states}
    for state in states:
        for role, other in roles.items():
            if state == other:
                continue
            low, high = statistics.percentile_interval(resampled[state] - resampled[other])
            difference = means[state] - means[other]
            columns[state] |= {
                f"difference_{role}": difference,
                f"difference_{role}_low": low,
                f"difference_{role}_high": high,
                f"difference_{role}_percent": _percent(difference, means[other]),
            }
            for kind, tests in p_values.items():
                p, corrected = tests[_pair(state, other)]
                columns[state] |= {f"p_{kind}_{role}": p, f"p_{kind}_{role}_holm": corrected}
    return columns


def _pair(state: State, other: State) -> tuple[State, State]:
    """Two rows in one order, so that each pair is tested once."""
    return min(state, other), max(state, other)


def _tests(
    scores: pd.DataFrame, pairs: list[tuple[State, State]], groups: pd.Index
) -> dict[tuple[State, State], tuple[float, float]]:
    """p value and corrected p value of each pair of columns of `scores`."""
    if not pairs:
        return {}
    differences = np.array([scores[one] - scores[other] for one, other in pairs])
    p_values = statistics.sign_flips(differences, groups, flips=statistics.FLIPS)
    return dict(zip(pairs, zip(p_values, statistics.holm(p_values), strict=True), strict=True))


def _percent(difference: float, whole: float) -> float:
    return 100 * difference / whole if whole else np.nan


def _beside_published(row: dict[str, Any], published: pd.DataFrame) -> dict[str, float | str]:
    """A method's published numbers, and whether they lie in our interval over the folds."""
    columns = {}
    for number in published[published["method"] == row["method"]].itertuples():
        name = number.measure
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        columns[f"published_{name}"] = number.value
        columns[f"published_{name}_sd"] = number.sd
        if not np.isnan(low):
            columns[f"published_{name}_inside"] = "yes" if low <= number.value <= high else "no"
    return columns


def bin_table(
    predictions: pd.DataFrame,
    labels: dict[str, str],
    bins: Bins,
    scale: str,
) -> pd.DataFrame:
    """One row a method, decoding and bin: n, mae, bias and accuracy in percent, of all folds."""
    answers = decoded(predictions, labels, bins)
    parts = []
    for (method, decoding), rows in answers.groupby(["method", "decoding"], sort=False):
        columns = (rows[name].to_numpy() for name in ("label", "value", "bin", "predicted"))
        part = metrics.per_bin(*columns, len(bins))
        part.insert(0, "method", method)
        part.insert(1, "label", labels[method])
        part.insert(2, "decoding", decoding)
        part.insert(4, "word", bins.words)
        part["n"] //= rows["seed"].nunique()
        parts.append(part.assign(accuracy=100 * part["accuracy"], scale=scale))
    return pd.concat(parts, ignore_index=True)
