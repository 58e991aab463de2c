"""Numbers of the reading table: scores with intervals, and paired differences to naive training.

Every row has a soft score and an exact match for each question: the mean over its seeds. Questions
on one image are not independent, so the bootstrap and the tests draw images.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from countclip.experiments.reading import controls
from countclip.experiments.reading.pool import AnswerKey, Scores, said
from countclip.experiments.reading.variants import NAIVE, VARIANTS
from countclip.report import statistics

CONTROLS = {
    "uniform": "uniform over the pool",
    "random_100": "random of the 100 most frequent",
    "weighted_100": "the same, by frequency",
    "weighted": "random of the pool, by frequency",
    "majority": "the most frequent answer",
    "question_lookup": "answer of the most alike question",
}
"""What looks at no image, and its label."""
OCR = {"ocr": "OCR, then match"}
CEILINGS = {
    "pool_ceiling": "ceiling: the pool",
    "ocr_ceiling": "ceiling: runs of OCR's words",
    "pool_or_ocr_ceiling": "ceiling: both",
    "annotators": "annotators among each other",
}
MEASURES = ("soft", "exact")
BOUNDS = ("", "_low", "_high")
COLUMNS = [
    *("row", "label", "kind", "reads", "seeds", "n", "images"),
    *(f"{name}{of}" for name in MEASURES for of in (*BOUNDS, "_sd")),
    *(f"difference_{name}{of}" for name in MEASURES for of in BOUNDS),
    *(f"p_{name}{of}" for name in MEASURES for of in ("", "_holm")),
    *("ceiling_soft", "ceiling_exact", "share_of_ceiling_soft", "share_of_ceiling_exact"),
    *("chance_soft", "chance_exact", "shuffled_soft"),
    *("distinct_answers", "commonest_answer", "commonest_share", "recall_10"),
    *("within_cluster", "within_chance", "false_negatives", "published_exact", "published_soft"),
    "scale",
]  # fmt: skip


class Inputs(NamedTuple):
    """What the table is made from.

    train, questions: of both splits. pool: place, answer, count. predictions: row -> seed ->
    frame (`predictions.read_predictions`), of VARIANTS and OCR. false_negatives: clustering -> its
    summary's shares by random share. words: of OCR in each question's image, None without.
    published: of `published.read`.
    """

    train: pd.DataFrame
    train_targets: list[str]
    questions: pd.DataFrame
    pool: pd.DataFrame
    predictions: dict[str, dict[int, pd.DataFrame]]
    false_negatives: dict[str, dict[str, float]]
    words: list[list[str]] | None
    published: pd.DataFrame


def table(inputs: Inputs, scale: str) -> pd.DataFrame:
    """One row a control, reader and ceiling, with COLUMNS; scores and shares in percent.

    difference_<measure>: to naive training, paired. p: of the sign-flip test over images, `_holm`
    corrected over all readers of a measure. recall_10: share of questions whose right answer is
    among the ten most similar ones. within_cluster: share that is right among the answers of the
    question's cluster, of questions whose right answer is in the pool.
    """
    answers, pool = list(inputs.questions["answers"]), list(inputs.pool["answer"])
    key = AnswerKey(answers, pool)
    of_ceilings = controls.ceilings(answers, pool, inputs.words)
    scored = controls.blind(key, inputs.pool["count"])
    lookup = controls.from_question(
        inputs.train, inputs.train_targets, inputs.questions["question"], pool
    )
    scored["question_lookup"] = key.of(lookup)
    rows: dict[str, dict] = {name: {"kind": "control", "reads": "nothing"} for name in scored}
    rows["question_lookup"] |= {"reads": "question"} | _said(lookup, inputs.pool)
    sd: dict[str, dict[str, float]] = {}
    for name, frames in inputs.predictions.items():
        scored[name], sd[name] = _over_seeds(key, frames)
        rows[name] = _reader(name, frames, key, inputs)
    for name, scores in (of_ceilings | {"annotators": controls.annotators(answers)}).items():
        scored[name] = scores
        rows[name] = {"kind": "ceiling", "reads": "answers"}
    numbers = _intervals(scored, inputs.questions["image"].to_numpy())
    compared = _differences(scored, inputs.questions["image"].to_numpy())
    ceilings = of_ceilings["pool_ceiling"]
    labels = CONTROLS | OCR | CEILINGS | {name: one.label for name, one in VARIANTS.items()}
    chance = scored["uniform"]
    for name, row in rows.items():
        row |= {"row": name, "label": labels[name], "n": len(answers), "scale": scale}
        row["images"] = inputs.questions["image"].nunique()
        row |= numbers[name] | compared.get(name, {}) | sd.get(name, {})
        if row["kind"] != "ceiling":
            for measure in MEASURES:
                ceiling = 100 * getattr(ceilings, measure).mean()
                row[f"ceiling_{measure}"] = ceiling
                row[f"share_of_ceiling_{measure}"] = 100 * row[measure] / ceiling
                row[f"chance_{measure}"] = 100 * getattr(chance, measure).mean()
        row |= _published(name, inputs.published)
    return pd.DataFrame(list(rows.values()), columns=COLUMNS)


def _over_seeds(key: AnswerKey, frames: dict[int, pd.DataFrame]) -> tuple[Scores, dict[str, float]]:
    """Mean score of each question over the seeds, and the seeds' standard deviation."""
    of_seeds = [key.of(frame["predicted"].to_numpy()) for frame in frames.values()]
    means = {name: np.array([getattr(one, name) for one in of_seeds]) for name in MEASURES}
    sd = {
        f"{name}_sd": 100 * float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else np.nan
        for name, values in means.items()
    }
    return Scores(*(values.mean(axis=0) for values in means.values())), sd


def _reader(
    name: str, frames: dict[int, pd.DataFrame], key: AnswerKey, inputs: Inputs
) -> dict[str, float | str]:
    """What a reader's predictions show besides their scores, means over the seeds."""
    variant = VARIANTS.get(name)
    reads = {"image": "pixels", "question": "question"}.get(
        variant.asks if variant else "", "pixels and question" if variant else "OCR"
    )
    row = {
        "kind": "reader",
        "reads": reads,
        "seeds": len(frames),
        "recall_10": 100 * np.mean([frame["rank"].between(1, 10) for frame in frames.values()]),
        "shuffled_soft": 100 * np.mean(
            [controls.shuffled(key, frame["predicted"].to_numpy()).soft.mean()
             for frame in frames.values()]
        ),
    }  # fmt: skip
    row |= _said(np.concatenate([frame["predicted"] for frame in frames.values()]), inputs.pool)
    row["distinct_answers"] = float(
        np.mean([said(frame["predicted"], key.n)["distinct_answers"] for frame in frames.values()])
    )
    if variant is None:
        return row
    clusters = variant.hard_on or "both"
    hits = [frame[f"within_{clusters}"] for frame in frames.values()]
    numbers = [frame[f"candidates_{clusters}"] for frame in frames.values()]
    if not np.isnan(np.array(hits, float)).all():
        row["within_cluster"] = 100 * float(np.nanmean(hits))
        row["within_chance"] = 100 * float(np.nanmean(1 / np.array(numbers)))
    if variant.trained:
        shares = inputs.false_negatives[clusters]
        row["false_negatives"] = 100 * shares[str(float(variant.random_share))]
    return row


def _said(predicted: np.ndarray, pool: pd.DataFrame) -> dict[str, float | str]:
    found = said(predicted, len(pool))
    return {
        "distinct_answers": found["distinct_answers"],
        "commonest_answer": pool["answer"][found["commonest"]],
        "commonest_share": 100 * found["commonest_share"],
    }


def _intervals(scored: dict[str, Scores], images: np.ndarray) -> dict[str, dict[str, float]]:
    """Means and bootstrap intervals of each row, in percent."""
    values = np.array(list(scored.values())).reshape(-1, len(images))
    means = statistics.bootstrap(values, groups=images)
    bounds = np.array([statistics.percentile_interval(column) for column in means.T])
    figures = 100 * np.column_stack([values.mean(axis=1), bounds]).reshape(len(scored), -1)
    columns = [f"{name}{of}" for name in MEASURES for of in BOUNDS]
    return {
        name: dict(zip(columns, row.tolist(), strict=True))
        for name, row in zip(scored, figures, strict=True)
    }


def _differences(scored: dict[str, Scores], images: np.ndarray) -> dict[str, dict[str, float]]:
    """Each reader's difference to naive training, in percentage points, and its p values."""
    names = [name for name in (*VARIANTS, *OCR) if name in scored and name != NAIVE]
    if NAIVE not in scored or not names:
        return {}
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for measure in MEASURES:
        naive = getattr(scored[NAIVE], measure)
        differences = np.array([getattr(scored[name], measure) - naive for name in names])
        means = statistics.bootstrap(differences, groups=images)
        p_values = statistics.sign_flips(differences, groups=images)
        corrected = statistics.holm(p_values)
        for place, name in enumerate(names):
            low, high = statistics.percentile_interval(means[:, place])
            found[name] |= {
                f"difference_{measure}": 100 * float(differences[place].mean()),
                f"difference_{measure}_low": 100 * low,
                f"difference_{measure}_high": 100 * high,
                f"p_{measure}": float(p_values[place]),
                f"p_{measure}_holm": float(corrected[place]),
            }
    return found


def _published(name: str, published: pd.DataFrame) -> dict[str, float]:
    method = VARIANTS[name].published if name in VARIANTS else name
    rows = published[published["method"] == method]
    return {f"published_{row.measure}": float(row.accuracy) for row in rows.itertuples()}
