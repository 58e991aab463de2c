"""Ordinal losses on counting: two decodings, four measures of each, and paired tests.

Under `argmax` the number of the most similar of nine captions is predicted. Under `expectation` it
is the expected count: a head's, or without one that of a softmax over the nine cosines, times the
`count_logit_scale` of the training (1 for null). Accuracy and off-by-one round it to a number; MAE
and Spearman's correlation take it as it is.

All is of the end of training. A measure is the mean over the seeds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from countclip.data.number_words import NUMBERS
from countclip.report import statistics
from countclip.runtime.config import ORDINAL

DECODINGS = ("argmax", "expectation")
MEASURES = {
    "accuracy": "Accuracy (%)",
    "mae": "MAE",
    "off_by_one": "Off by one (%)",
    "spearman": "Spearman",
}
"""The measures and their headers."""
OTHERS = ("reference", "count_plus")
"""What a variant with an ordinal loss is compared with, under the same decoding."""
BOUNDS = ("", "_low", "_high")
COLUMNS = [
    *("decoding", "mae", "off_by_one", "spearman", "count_plus"),
    *(f"{measure}_minus_{other}{bound}"
      for other in OTHERS for measure in MEASURES for bound in BOUNDS),
    *(f"p_{measure}_vs_{other}{of}"
      for other in OTHERS for measure in MEASURES for of in ("", "_holm")),
]  # fmt: skip

Settings = dict[str, dict[str, Any]]
"""Of each variant, all that its training follows from."""
State = tuple[str, str]
"""A row of the table: variant and decoding."""


def is_ordinal(settings: dict[str, Any]) -> bool:
    """Whether a variant's loss is ordinal."""
    return settings["loss"] in ORDINAL


def count_plus_of(variant: str, settings: Settings) -> str | None:
    """The variant that has L_count+ and is otherwise as `variant`; None where there is none."""
    wanted = settings[variant] | {"loss": "count_plus"}
    return next((name for name, found in settings.items() if found == wanted), None)


def roles(variant: str, settings: Settings, reference: str) -> dict[str, str]:
    """The variants that an ordinal one is compared with, by their role in OTHERS."""
    found = {"reference": reference, "count_plus": count_plus_of(variant, settings)}
    return {role: name for role, name in found.items() if name not in (None, variant)}


def states(settings: Settings, reference: str) -> list[State]:
    """Variant and decoding of each row: all under argmax; ordinal ones, and what these are compared
    with, under expectation too."""
    ordinal = [name for name in settings if is_ordinal(settings[name])]
    twice = {*ordinal, *(o for name in ordinal for o in roles(name, settings, reference).values())}
    return [
        (name, decoding)
        for name in settings
        for decoding in (DECODINGS if name in twice else DECODINGS[:1])
    ]


def counts(rows: pd.DataFrame, decoding: str, scale: float | None) -> np.ndarray:
    """The count that each row of predictions tells (n,), under a decoding.

    scale: of the cosines, where no head told `expected`.
    """
    if decoding == "argmax":
        return rows["prediction"].to_numpy(float)
    if "expected" in rows and rows["expected"].notna().all():
        return rows["expected"].to_numpy(float)
    cosines = np.stack(rows["similarity"].to_numpy()).astype(float)
    return softmax((scale or 1.0) * cosines, axis=1) @ np.array(NUMBERS, float)


@dataclass(frozen=True)
class Measured:
    """Counts that a variant told under one decoding, and what follows from them.

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


def table(predictions: pd.DataFrame, settings: Settings, reference: str) -> pd.DataFrame:
    """One row for each of `states`: variant, accuracy, and COLUMNS.

    predictions: of `scores.load_predictions`. `<measure>_minus_<other>` is the difference to a
    variant of OTHERS, with the paired bootstrap's 95 % interval over the images. p of accuracy,
    MAE and off-by-one: the sign-flip test of each seed, which of hits is McNemar's exact one
    (several seeds: twice the median p); of Spearman: the bootstrap's. `_holm`: corrected over all
    tests of the same measure.
    """
    ends = predictions[predictions["checkpoint"] == "end"].sort_values(["seed", "index"])
    by_variant = dict(tuple(ends.groupby("variant")))
    measured = {}
    for name, decoding in states(settings, reference):
        rows = by_variant[name]
        seeds = rows["seed"].nunique()
        numbers = rows["number"].to_numpy(float).reshape(seeds, -1)[0]
        told = counts(rows, decoding, settings[name].get("count_logit_scale"))
        measured[name, decoding] = Measured.of(told.reshape(seeds, -1), numbers)
    pairs = {
        (state, role): (measured[state], measured[other, state[1]])
        for state in measured
        if is_ordinal(settings[state[0]])
        for role, other in roles(state[0], settings, reference).items()
    }
    p_values = dict(zip(pairs, _p_values(list(pairs.values())), strict=True))
    resampled = _resampled(measured)
    rows = []
    for (name, decoding), ours in measured.items():
        row: dict[str, Any] = {"variant": name, "decoding": decoding, **ours.means}
        if is_ordinal(settings[name]):
            others = roles(name, settings, reference)
            row["count_plus"] = others.get("count_plus")
            for role, other in others.items():
                theirs = measured[other, decoding]
                samples = resampled[name, decoding] - resampled[other, decoding]
                of_measures = dict(zip(MEASURES, samples, strict=True))
                tested = p_values[(name, decoding), role]
                row |= _compared(ours, theirs, of_measures, tested, role)
        rows.append(row)
    made = pd.DataFrame(rows, columns=["variant", "accuracy", *COLUMNS])
    for measure in MEASURES:
        columns = [f"p_{measure}_vs_{other}" for other in OTHERS]
        p_values = made[columns].to_numpy(float)
        corrected = statistics.holm(p_values.ravel()).reshape(p_values.shape)
        made[[f"{column}_holm" for column in columns]] = corrected
    return made


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


def _resampled(measured: dict[State, Measured]) -> dict[State, np.ndarray]:
    """MEASURES (4, RESAMPLES) in the bootstrap's samples, means over the seeds, of the variants
    that have both decodings."""
    both = {name for name, decoding in measured if decoding == "expectation"}
    found = {}
    for state, ours in measured.items():
        if state[0] in both:
            scores = np.array([each.mean(axis=0) for each in ours.scores.values()])
            correlations = statistics.bootstrap_spearman(ours.values, ours.numbers)
            found[state] = np.vstack([statistics.bootstrap(scores).T, correlations.mean(axis=1)])
    return found


def _compared(
    ours: Measured,
    theirs: Measured,
    samples: dict[str, np.ndarray],
    p_values: dict[str, float],
    role: str,
) -> dict[str, float]:
    """Differences of each measure, with intervals and p values, to a variant of OTHERS.

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
