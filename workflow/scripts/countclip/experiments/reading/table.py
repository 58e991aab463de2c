"""The reading table as readers see it: controls, readers and ceilings, with notes."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from countclip.experiments.reading import controls, published
from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.hard_on import HARD_ON
from countclip.experiments.reading.metric import majority
from countclip.experiments.reading.pool import read_pool
from countclip.experiments.reading.predictions import read_predictions
from countclip.experiments.reading.scores import CONTROLS, OCR, Inputs, table
from countclip.experiments.reading.variants import MIXED, NAIVE, TREATED, VARIANTS
from countclip.report import pages, sheets, statistics
from countclip.report.sheets import ONE_DECIMAL, SIGNED, TWO_DECIMALS, Cell, Sheet, p_value
from countclip.runtime.files import read_json

log = logging.getLogger(__name__)

FORMATS = {
    **{f"{name}{of}": TWO_DECIMALS for name in ("soft", "exact") for of in ("", "_low", "_high")},
    **{f"difference_soft{of}": SIGNED for of in ("", "_low", "_high")},
    "p_soft_holm": p_value,
    **dict.fromkeys(("share_of_ceiling_soft", "recall_10", "commonest_share"), ONE_DECIMAL),
    **dict.fromkeys(("within_cluster", "within_chance", "false_negatives"), ONE_DECIMAL),
    "distinct_answers": "{:.0f}".format,
    "published_exact": "{:.3g}".format,
    "published_soft": TWO_DECIMALS,
}
"""Of each number that the sheets show."""


def read_inputs(
    *,
    train_questions: str,
    validation_questions: str,
    validation_images: str,
    pool_csv: str,
    predictions: dict[str, dict[int, str]],
    clusters: dict[str, str],
    published_csv: str,
) -> Inputs:
    """The files of a run.

    predictions: row -> seed -> Parquet. clusters: clustering -> JSON of `clusters.make_clusters`.
    """
    questions, pool = read_questions(validation_questions), read_pool(pool_csv)
    train = read_questions(train_questions)
    unknown = set(predictions) - {*VARIANTS, *OCR}
    if unknown:
        raise ValueError(f"no row {', '.join(sorted(unknown))}: register it in variants.py")
    words = pd.read_parquet(validation_images).sort_values("index")["words"]
    return Inputs(
        train=train,
        train_targets=[majority(ten) for ten in train["answers"]],
        questions=questions,
        pool=pool,
        predictions={
            name: {
                seed: read_predictions(path, questions, len(pool))
                for seed, path in predictions[name].items()
            }
            for name in (*VARIANTS, *OCR)
            if name in predictions
        },
        false_negatives={
            name: read_json(path)["false_negatives"] for name, path in clusters.items()
        },
        words=None
        if words.isna().any()
        else [list(words.iloc[image]) for image in questions["image"]],
        published=published.read(published_csv),
    )


def make_table(
    inputs: Inputs,
    *,
    scale: str,
    title: str,
    notes: Sequence[str] = (),
    csv_path: str | Path,
    json_path: str,
    markdown_path: str,
) -> None:
    """Publish the table as CSV, and its views as JSON and Markdown.

    notes: on the data and the settings of this run, below the others.
    """
    numbers = table(inputs, scale)
    sheets.write_csv(numbers, str(csv_path))
    scores = scores_sheet(numbers, inputs, title)
    scores.notes.extend(notes)
    views = [scores] + ([collapse_sheet(numbers)] if _has_clusters(numbers) else [])
    sheets.write_sheets(views, json_path, markdown_path)
    log.info("%s\n%s", title, numbers[["row", "soft", "exact"]].to_string(index=False))


def _has_clusters(table: pd.DataFrame) -> bool:
    """Whether a reader was trained on batches of hard negatives."""
    return any(name in VARIANTS and VARIANTS[name].hard_on for name in table["row"])


def notes_on_run(settings: dict[str, Any], summaries: dict[str, str], pool_json: str) -> list[str]:
    """Notes on a run: its files, its pool, its texts.

    settings: of `settings.table_settings`. summaries: split -> JSON of `data.make_split`.
    """
    notes = []
    for split, path in summaries.items():
        found = read_json(path)
        first, *others = sorted(found["sources"].items())
        more = f" and {len(others)} more" if others else ""
        notes.append(
            f"The {split} split has {found['questions']:,} questions on {found['images']:,} images,"
            f" from {Path(first[0]).name} (sha256 {first[1][:16]}){more}."
        )
    pool = read_json(pool_json)
    notes.append(
        f"The pool: normalised majority answers of training questions, most questions first, of"
        f" equals by text. {pool['in_the_pool_once']:,} of {pool['answers']:,} are those of one"
        f" question. pool.csv has the sha256 {pool['sha256'][:16]}."
    )
    templates = ", ".join(f"{name} “{text}”" for name, text in settings["templates"].items())
    notes.append(
        f"Model: {settings['model']}, frozen. Images: view {settings['view']}. Texts: {templates}."
    )
    return notes


def scores_sheet(table: pd.DataFrame, inputs: Inputs, title: str) -> Sheet:
    """Each row's scores with their intervals, the best reader marked."""
    headers = ["Row", "Reads", "Soft accuracy (%)", "Exact match (%)", "To naive", "p",
               "Of the pool's ceiling (%)", "Distinct answers", "Commonest answer (%)",
               "Recall at 10 (%)", "Published"]  # fmt: skip
    best = table.loc[table["kind"] == "reader", "soft"].max()
    lines = []
    for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True):
        is_best = row["kind"] == "reader" and bool(row["soft"] == best)
        commonest = f"{row['commonest_answer']}: {text['commonest_share']}"
        exact, soft = text["published_exact"], text["published_soft"]
        lines.append(
            [
                Cell(row["label"]),
                Cell(row["reads"]),
                _interval(text, "soft")._replace(best=is_best),
                _interval(text, "exact"),
                _interval(text, "difference_soft"),
                Cell(text["p_soft_holm"] or "–"),
                Cell(text["share_of_ceiling_soft"] or "–"),
                Cell(text["distinct_answers"] or "–"),
                Cell(commonest if text["commonest_share"] else "–"),
                Cell(text["recall_10"] or "–"),
                Cell(f"{exact} exact" if exact else f"{soft} soft" if soft else "–"),
            ]
        )
    stamp = pages.stamp(table["scale"].iloc[0])
    heading = f"{title}. {stamp.short}" if stamp else title
    return Sheet(heading, headers, lines, score_notes(table, inputs), stamp)


def _interval(text: dict[str, str], name: str) -> Cell:
    low, high = text[f"{name}_low"], text[f"{name}_high"]
    return Cell(text[name] or "–", f"[{low}, {high}]" if low else "")


def score_notes(table: pd.DataFrame, inputs: Inputs) -> list[str]:
    """What a reader must know to read the scores right."""
    first, n_pool = table.iloc[0], len(inputs.pool)
    seeds = int(table["seeds"].max()) if table["seeds"].notna().any() else 0
    chance = TWO_DECIMALS(first["chance_soft"])
    return [
        f"n = {first['n']:,} questions on {first['images']:,} images, all in each row. A reader"
        f" chooses among the pool's {n_pool:,} answers. Chance, uniform over them, is {chance} %.",
        "Soft accuracy is M4C's (TextVQA's), exact match is with the normalised majority answer."
        " Neither can be compared with the other.",
        "Brackets hold 95 % bootstrap intervals over images, whose questions are drawn together. A"
        f" reader's score of a question is the mean over up to {seeds} seeds; the intervals do not"
        " cover the choice of seeds, whose standard deviation is in the CSV.",
        "To naive: soft accuracy minus that of naive training, in percentage points, paired. p:"
        " two-sided sign-flip test over images, Holm-corrected over all readers.",
        f"Controls ({', '.join(CONTROLS.values())}) are expected scores, computed and not drawn; a"
        " reader that is not above them cannot be said to read."
        " “Answers shuffled” is trained like naive, with the answers dealt to the questions anew.",
        f"Ceilings choose the best candidate of each question; runs have up to"
        f" {controls.LONGEST_RUN} words of OCR.",
        "Ties count as wrong, so a model with constant embeddings scores 0. Few distinct answers"
        " and a high share of the commonest one are the sign of a collapse.",
        "Published values are of TextVQA's validation split: exact match of CLIP, naive training"
        " and hard negatives (Bassey and Bisk; “text” stands beside question), soft accuracy of"
        " controls and ceilings (Singh et al. 2019, other OCR, 8,000 answers).",
        "▲ marks the best reader.",
    ]


def collapse_sheet(table: pd.DataFrame) -> Sheet:
    """The two causes of a collapse taken away by turns: false negatives, and no random pairs."""
    texts = dict(zip(table["row"], sheets.texts(table, FORMATS), strict=True))
    columns = [(treatment, share) for treatment in TREATED for share in MIXED]
    names = {
        (one.hard_on, one.treatment, one.random_share): one.name
        for one in VARIANTS.values()
        if one.hard_on
    }
    lines = []
    for hard_on in HARD_ON:
        cells = [Cell(VARIANTS[names[hard_on, "negatives", 0.0]].label)]
        for treatment, share in columns:
            text = texts.get(names[hard_on, treatment, share])
            if text is None:
                cells += [Cell("–")] * 2
                continue
            cells.append(_interval(text, "soft"))
            within = f"{text['within_cluster']} (chance {text['within_chance']})"
            cells.append(Cell(within if text["within_cluster"] else "–"))
        shares = (texts.get(names[hard_on, "negatives", share]) for share in MIXED)
        cells.append(Cell(", ".join(one["false_negatives"] if one else "–" for one in shares)))
        lines.append(cells)
    naive = texts.get(NAIVE)
    headers = ["Batches"]
    for treatment, share in columns:
        what = "as published" if not (TREATED[treatment] or MIXED[share]) else (
            f"{TREATED[treatment]}{MIXED[share]}".removeprefix(", ")
        )  # fmt: skip
        headers += [f"{what}: soft (%)", "within the cluster (%)"]
    headers.append("False negatives, without and with random pairs (%)")
    return Sheet(
        "What makes hard negatives collapse",
        headers,
        lines,
        [
            "Masked: wrong pairs whose answer scores for the question are left out of the loss."
            " Half at random: half of each batch is drawn from all pairs, so that answers of"
            " different clusters meet. False negatives: their share among the wrong pairs of a"
            " batch.",
            "Within the cluster: share of questions whose right answer is best among the answers of"
            " the training pairs in the question's cluster. High within and low over the pool says"
            " that nothing orders the answers across clusters.",
            *(
                [
                    f"Naive training: soft accuracy {naive['soft']} %, within clusters of image and"
                    f" question {naive['within_cluster']} %, false negatives"
                    f" {naive['false_negatives']} %."
                ]
                if naive
                else []
            ),
            f"Significant below {statistics.LEVEL} after correction: see the table above.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )
