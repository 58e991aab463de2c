"""Ordinal losses on counting: two decodings, four measures of each, and paired tests.

Under `argmax` the number of the most similar of nine captions is predicted. Under `expectation` it
is the expected count: a head's, or without one that of a softmax over the nine cosines, times the
`count_logit_scale` of the training (1 for null). Accuracy and off-by-one round it to a number; MAE
and Spearman's correlation take it as it is.

All is of the end of training. A measure is the mean over the seeds.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from countclip.data.number_words import NUMBERS
from countclip.report import paired_counts
from countclip.report.paired_counts import Measured
from countclip.settings.added_variants import ORDINAL

DECODINGS = ("argmax", "expectation")
OTHERS = ("reference", "count_plus")
"""What a variant with an ordinal loss is compared with, under the same decoding."""
COLUMNS = [
    *("decoding", "mae", "off_by_one", "spearman", "count_plus"),
    *paired_counts.columns(OTHERS),
]

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


def table(predictions: pd.DataFrame, settings: Settings, reference: str) -> pd.DataFrame:
    """One row for each of `states`: variant, accuracy, and COLUMNS.

    predictions: of `scores.load_predictions`. Differences to the variants of OTHERS are those of
    `paired_counts.compared`.
    """
    ends = dict(tuple(predictions[predictions["checkpoint"] == "end"].groupby("variant")))
    measured = {}
    for name, decoding in states(settings, reference):
        told = counts(ends[name], decoding, settings[name].get("count_logit_scale"))
        measured[name, decoding] = Measured.of_rows(ends[name], told)
    pairs = {
        (state, role): (other, state[1])
        for state in measured
        if is_ordinal(settings[state[0]])
        for role, other in roles(state[0], settings, reference).items()
    }
    differences = paired_counts.compared(measured, pairs)
    rows = []
    for state, ours in measured.items():
        name, decoding = state
        row: dict[str, Any] = {"variant": name, "decoding": decoding, **ours.means}
        if is_ordinal(settings[name]):
            row["count_plus"] = roles(name, settings, reference).get("count_plus")
        rows.append(row | differences.get(state, {}))
    made = pd.DataFrame(rows, columns=["variant", "accuracy", *COLUMNS])
    return paired_counts.with_holm(made, OTHERS)
