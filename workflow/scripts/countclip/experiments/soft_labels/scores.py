"""Numbers of the table of targets: zero-shot accuracies, paired differences, and what was learnt.

One row a net and target. An accuracy is the mean over seeds and images, in percent. It has two
intervals: the bootstrap's over the images, each with its mean over the seeds, and Student's over
the seeds. A difference to hard labels is of the same net, paired by image and by seed.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from countclip.report import statistics

THIRDS = ("head", "middle", "tail")
MEASURES = {
    "top1": "Top-1 (%)",
    "top5": "Top-5 (%)",
    "head": "Head",
    "middle": "Middle",
    "tail": "Tail",
}
"""Accuracies and their headers; the thirds are top-1 on classes by how often captions name them."""
COMPARED = ("top1", "top5", "tail")
"""Accuracies whose differences to hard labels are tested."""
LEARNT = ("loss", "kl", "target_diagonal", "target_partners", "logit_scale")
"""Columns of a history, whose last row enters the table as its mean over the seeds."""
BOUNDS = ("low", "high", "seeds_low", "seeds_high")
COLUMNS = [
    *("net", "net_label", "target", "label"),
    *("clip_target", "soft_alpha", "soft_power", "soft_mask"),
    *("pairs", "steps", "seeds", "images", "classes"),
    *(f"{name}{of}" for name in MEASURES for of in ("", *(f"_{bound}" for bound in BOUNDS))),
    *(f"{name}_each_seed" for name in MEASURES),
    *(f"difference_{name}{of}" for name in COMPARED
      for of in ("", *(f"_{bound}" for bound in BOUNDS))),
    *(f"p_{name}{of}" for name in COMPARED for of in ("", "_holm")),
    *LEARNT,
    *("set", "scale", "source"),
]  # fmt: skip


class Net(NamedTuple):
    """A net and its schedule: label, steps, and its targets' ids in the table's order."""

    label: str
    steps: int
    targets: list[str]


def thirds(classes: pd.DataFrame) -> np.ndarray:
    """The third of each class, `head`, `middle` or `tail`, by the captions that name it.

    Classes are ordered by `captions`, the most frequent first, and then by `text`; a rest that
    three does not divide goes to the head, and then to the middle.
    """
    order = classes.assign(captions=-classes["captions"]).sort_values(["captions", "text"]).index
    found = np.empty(len(classes), dtype=object)
    for name, part in zip(THIRDS, np.array_split(classes.index.get_indexer(order), 3), strict=True):
        found[part] = name
    return found


def table(
    predictions: dict[str, pd.DataFrame],
    histories: dict[tuple[str, str], list[pd.DataFrame]],
    classes: pd.DataFrame,
    *,
    nets: dict[str, Net],
    targets: dict[str, dict[str, Any]],
    published: pd.DataFrame,
    pairs: int,
    scale: str,
) -> pd.DataFrame:
    """The rows of all nets and their targets, and the published ones below.

    predictions: net -> answers of `classify.classify`. histories: (net, target) -> one a seed.
    classes: of `pairs.count_classes`. targets: id -> label and `TargetSettings`. published:
    label, clip_target, top1, top5, set and source.
    """
    rows: list[dict[str, Any]] = []
    values: dict[str, dict[int, np.ndarray]] = defaultdict(dict)  # column -> row -> (seeds, images)
    third = thirds(classes)
    for net, settings in nets.items():
        hits = {name: _hits(predictions[net], name) for name in settings.targets}
        reference = next(
            (name for name in settings.targets if targets[name]["clip_target"] == "hard"), None
        )
        for target, ours in hits.items():
            for measure in MEASURES:
                scores = _scores(ours, measure, third)
                values[measure][len(rows)] = scores
                if measure in COMPARED and reference not in (None, target):
                    paired = scores - _scores(hits[reference], measure, third)
                    values[f"difference_{measure}"][len(rows)] = paired
            last = pd.DataFrame([history.iloc[-1] for history in histories[net, target]])
            rows.append(
                {"net": net, "net_label": settings.label, "target": target, **targets[target]}
                | {"pairs": pairs, "steps": settings.steps, "seeds": len(ours.ranks)}
                | {"images": len(ours.classes), "classes": len(classes), "scale": scale}
                | {name: last[name].mean() for name in LEARNT}
            )
    for name, of_rows in values.items():
        for place, columns in zip(of_rows, described(name, list(of_rows.values())), strict=True):
            rows[place] |= columns
    joined = pd.concat([pd.DataFrame(rows), published], ignore_index=True)
    return joined.reindex(columns=COLUMNS)


class _Hits(NamedTuple):
    """ranks: int (seeds, images), of the right class. classes: int (images,)."""

    ranks: np.ndarray
    classes: np.ndarray


def _hits(answers: pd.DataFrame, target: str) -> _Hits:
    rows = answers[answers["target"] == target]
    if rows.empty:
        raise ValueError(f"no predictions of target {target!r}: make them first")
    ranks = rows.pivot(index="seed", columns="index", values="rank")
    if ranks.isna().any(axis=None):
        raise ValueError(
            f"target {target!r}: some seeds lack images: delete its predictions and run again"
        )
    classes = rows.drop_duplicates("index").sort_values("index")["class"].to_numpy()
    return _Hits(ranks.to_numpy(), classes)


def _scores(hits: _Hits, measure: str, third: np.ndarray) -> np.ndarray:
    """Percent (seeds, images) of the images that a measure is of: each 0 or 100."""
    right = 100.0 * (hits.ranks < (5 if measure == "top5" else 1))
    return right[:, third[hits.classes] == measure] if measure in THIRDS else right


def described(name: str, values: list[np.ndarray]) -> list[dict[str, Any]]:
    """Columns of some rows: the mean of values (seeds, images), its intervals over images and over
    seeds, and of an accuracy each seed's, of a difference its p values."""
    over_images = np.array([each.mean(axis=0) for each in values])
    if not over_images.size:
        return [{} for _ in values]
    is_difference = name.startswith("difference_")
    resampled = statistics.bootstrap(over_images)
    columns = []
    for row, each in enumerate(values):
        over_seeds = each.mean(axis=1)
        bounds = (
            *statistics.percentile_interval(resampled[:, row]),
            *statistics.interval_of_mean(over_seeds),
        )
        bounds = np.clip(bounds, -100 if is_difference else 0, 100)
        keys = (f"{name}_{of}" for of in BOUNDS)
        columns.append({name: each.mean(), **dict(zip(keys, bounds, strict=True))})
        if not is_difference:
            columns[-1][f"{name}_each_seed"] = " ".join(map(repr, over_seeds.tolist()))
    if is_difference:
        p_values = statistics.sign_flips(over_images, flips=statistics.FLIPS)
        key = name.replace("difference", "p")
        for row, p, corrected in zip(columns, p_values, statistics.holm(p_values), strict=True):
            row |= {key: p, f"{key}_holm": corrected}
    return columns
