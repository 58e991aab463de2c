"""Measures of told counts, and paired differences between models, with intervals and tests.

A measure is the mean over the seeds. Accuracy and off-by-one round a count to a number; MAE and
Spearman's correlation take it as it is.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from countclip.report import sheets, statistics
from countclip.report.sheets import Cell, p_value

MEASURES = {
    "accuracy": "Accuracy (%)",
    "mae": "MAE",
    "off_by_one": "Off by one (%)",
    "spearman": "Spearman",
}
"""The measures and their headers."""
BOUNDS = ("", "_low", "_high")
DIFFERENCE_NOTES = [
    "A lower MAE is better, a higher value of the others.",
    "Brackets hold 95 % intervals of the paired bootstrap over images. They are not corrected for"
    " multiple comparisons and do not cover another training.",
    "p: paired sign-flip test over the images, which for accuracy and off by one is McNemar's exact"
    " test (several seeds: twice the median p); for Spearman's correlation the bootstrap's.",
    f"The sign flips of a seed show no p below {p_value(statistics.least_p(statistics.FLIPS))}, and"
    f" the bootstrap none below {p_value(2 * statistics.least_p(statistics.RESAMPLES))}; several"
    " seeds double the first, and the correction multiplies both. ≤ marks a p that may be smaller.",
    "An interval that excludes 0 may stand beside a large p: the interval is of the mean over the"
    " seeds, and not corrected.",
]

Model = TypeVar("Model", bound=Hashable)


def columns(roles: Iterable[str]) -> list[str]:
    """Columns of `compared` and `with_holm`, for models compared with others of these roles."""
    roles = list(roles)
    return [
        *(f"{measure}_minus_{role}{bound}"
          for role in roles for measure in MEASURES for bound in BOUNDS),
        *(f"p_{measure}_vs_{role}{of}"
          for role in roles for measure in MEASURES for of in ("", "_holm")),
    ]  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """Counts that a model told, and what follows from them.

    values: (seeds, n). numbers: the true ones (n,). scores: each measure of each image, (seeds, n);
    of all but Spearman's correlation. means: of each measure, over images and seeds.
    """

    values: np.ndarray
    numbers: np.ndarray
    scores: dict[str, np.ndarray]
    means: dict[str, float]

    @classmethod
    def of(cls, values: np.ndarray, numbers: np.ndarray) -> "Measured":
        rounded = np.floor(values + 0.5)
        scores = {
            "accuracy": 100.0 * (rounded == numbers),
            "mae": np.abs(values - numbers),
            "off_by_one": 100.0 * (np.abs(rounded - numbers) <= 1),
        }
        means = {measure: float(each.mean()) for measure, each in scores.items()}
        means["spearman"] = float(np.mean([statistics.spearman(seed, numbers) for seed in values]))
        return cls(values, numbers, scores, means)

    @classmethod
    def of_rows(cls, rows: pd.DataFrame, counts: np.ndarray) -> "Measured":
        """Of a model's predictions at a checkpoint, in any order, and the counts (n,) they tell."""
        order = np.lexsort([rows["index"], rows["seed"]])
        seeds = rows["seed"].nunique()
        numbers = rows["number"].to_numpy(float)[order].reshape(seeds, -1)[0]
        return cls.of(counts[order].reshape(seeds, -1), numbers)


def compared(
    measured: dict[Model, Measured], pairs: dict[tuple[Model, str], Model]
) -> dict[Model, dict[str, float]]:
    """Columns of the differences of each model to others, of `columns` but `_holm`.

    pairs: (model, role of the other) -> the other. `<measure>_minus_<role>` is the difference with
    the paired bootstrap's 95 % interval over the images. p of accuracy, MAE and off-by-one: the
    sign-flip test of each seed, which of hits is McNemar's exact one (several seeds: twice the
    median p); of Spearman: the bootstrap's.
    """
    both = [(measured[key], measured[other]) for (key, _), other in pairs.items()]
    needed = dict.fromkeys([*(key for key, _ in pairs), *pairs.values()])
    resampled = {key: _resampled(measured[key]) for key in needed}
    rows: dict[Model, dict[str, float]] = {}
    for ((key, role), other), p_values in zip(pairs.items(), _p_values(both), strict=True):
        samples = dict(zip(MEASURES, resampled[key] - resampled[other], strict=True))
        of_pair = _difference(measured[key], measured[other], samples, p_values, role)
        rows.setdefault(key, {}).update(of_pair)
    return rows


def _p_values(pairs: list[tuple[Measured, Measured]]) -> list[dict[str, float]]:
    """p of equal scores of each pair, by measure: the same images and seeds against each other.

    All pairs are flipped together, since drawing the signs is what takes time.
    """
    found: list[dict[str, float]] = [{} for _ in pairs]
    for measure in pairs[0][0].scores if pairs else ():
        differences = [ours.scores[measure] - theirs.scores[measure] for ours, theirs in pairs]
        ends = np.cumsum([len(of_seeds) for of_seeds in differences])
        of_all = statistics.sign_flips(np.concatenate(differences), flips=statistics.FLIPS)
        for place, of_seeds in enumerate(np.split(of_all, ends[:-1])):
            found[place][measure] = statistics.combined(list(of_seeds))
    return found


def _resampled(measured: Measured) -> np.ndarray:
    """MEASURES (4, RESAMPLES) in the bootstrap's samples, means over the seeds."""
    scores = np.array([each.mean(axis=0) for each in measured.scores.values()])
    correlations = statistics.bootstrap_spearman(measured.values, measured.numbers)
    return np.vstack([statistics.bootstrap(scores).T, correlations.mean(axis=1)])


def _difference(
    ours: Measured,
    theirs: Measured,
    samples: dict[str, np.ndarray],
    p_values: dict[str, float],
    role: str,
) -> dict[str, float]:
    """Differences of each measure, with intervals and p values.

    samples: of each difference, the bootstrap's. p_values: of the measures that are flipped.
    """
    row, p_values = {}, dict(p_values)
    for measure, of_measure in samples.items():
        difference = ours.means[measure] - theirs.means[measure]
        figures = (difference, *statistics.percentile_interval(of_measure))
        row |= {f"{measure}_minus_{role}{of}": x for of, x in zip(BOUNDS, figures, strict=True)}
        if measure not in p_values:
            known = not np.isnan(of_measure).any()
            p_values[measure] = statistics.bootstrap_p(of_measure) if known else np.nan
        row[f"p_{measure}_vs_{role}"] = p_values[measure]
    return row


def with_holm(table: pd.DataFrame, roles: Iterable[str]) -> pd.DataFrame:
    """The table with corrected p values: a family is all tests of the same measure."""
    made = table.copy()
    for measure in MEASURES:
        names = [f"p_{measure}_vs_{role}" for role in roles]
        p_values = made[names].to_numpy(float)
        corrected = statistics.holm(p_values.ravel()).reshape(p_values.shape)
        made[[f"{name}_holm" for name in names]] = corrected
    return made


def difference_cells(rows: pd.DataFrame, role: str) -> list[list[Cell]]:
    """A cell a measure for each row: the difference, with its interval and corrected p value."""
    formats = {}
    for measure in MEASURES:
        name, digits = f"{measure}_minus_{role}", 3 if measure == "spearman" else 2
        formats[name] = f"{{:+.{digits}f}}".format
        formats |= {f"{name}{bound}": f"{{:.{digits}f}}".format for bound in BOUNDS[1:]}
        formats[f"p_{measure}_vs_{role}_holm"] = p_value
    return [
        [
            Cell(
                text[f"{measure}_minus_{role}"],
                f"[{text[f'{measure}_minus_{role}_low']},"
                f" {text[f'{measure}_minus_{role}_high']}],"
                f" p {_at_most(row[f'p_{measure}_vs_{role}'], measure, row['seeds'])}"
                f"{text[f'p_{measure}_vs_{role}_holm'] or '–'}",
            )
            for measure in MEASURES
        ]
        for row, text in zip(rows.to_dict("records"), sheets.texts(rows, formats), strict=True)
    ]


def _at_most(p: float, measure: str, seeds: str) -> str:
    """≤ before a corrected p value whose test can show none smaller than `p`; seeds: as `1 2`."""
    if measure == "spearman":
        least = 2 * statistics.least_p(statistics.RESAMPLES)
    else:
        least = statistics.combined([statistics.least_p(statistics.FLIPS)] * len(seeds.split()))
    return "≤ " if statistics.is_least(p, least) else ""
