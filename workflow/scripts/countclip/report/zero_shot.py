"""Table of pretrained models that count without any training, beside published accuracies.

One row a model and benchmark. An accuracy's 95 % interval is Wilson's; the images are the same for
every model, so intervals of two models overlap more than their difference deserves.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from countclip.data.number_words import NUMBERS, per_class
from countclip.report import pages, scores, sheets, statistics
from countclip.report.sheets import SIGNED, TWO_DECIMALS, Cell, Sheet
from countclip.runtime.files import read_json

log = logging.getLogger(__name__)

COLUMNS = [
    *("model", "label", "name", "pretrained", "benchmark", "n", "n_per_class"),
    *("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "mae", "off_by_one", "ties"),
    *("accuracy_text_only", "parameters", "image_parameters", "image_size"),
    *("published", "published_n", "published_difference", "published_inside"),
    *("published_source", "scale"),
]
FORMATS = {
    **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high"), TWO_DECIMALS),
    **dict.fromkeys(("macro_f1", "mae", "off_by_one", "accuracy_text_only"), TWO_DECIMALS),
    "published": "{:.2f}".format,
    "published_n": "{:.0f}".format,
    "published_difference": SIGNED,
}
"""Of each number that the sheets show."""
COUNTBENCH = "countbench"


def table(
    predictions: pd.DataFrame,
    facts: dict[str, dict[str, int]],
    benchmark: str,
    models: list[dict[str, str]],
    published: pd.DataFrame,
    scale: str,
) -> pd.DataFrame:
    """The rows of one benchmark, with COLUMNS; shares in percent.

    predictions: of all models on it (`scores.load_predictions`). facts: model -> its JSON. models:
    id, label, name and pretrained. published: name, pretrained, n, accuracy and source of what
    others report on this benchmark.
    """
    reported = published.set_index(["name", "pretrained"])
    rows = []
    for model in models:
        own = predictions[predictions["variant"] == model["id"]]
        counts = statistics.confusion_matrix(
            own["number"].to_numpy(), own["prediction"].to_numpy(), NUMBERS
        )
        share, n = statistics.accuracy(counts), len(own)
        low, high = statistics.wilson(share, n)
        row = {
            "model": model["id"],
            "label": model["label"],
            "name": model["name"],
            "pretrained": model["pretrained"],
            "benchmark": benchmark,
            "n": n,
            "n_per_class": " ".join(map(str, per_class(own["number"]).values())),
            "accuracy": 100 * share,
            "accuracy_low": 100 * low,
            "accuracy_high": 100 * high,
            "macro_f1": 100 * statistics.macro_f1(counts),
            "mae": statistics.mae(counts, NUMBERS),
            "off_by_one": 100 * statistics.off_by_one(counts, NUMBERS),
            "ties": int(own["tie"].sum()),
            "accuracy_text_only": 100 * (own["text_only"] == own["number"]).mean(),
            **facts[model["id"]],
            "scale": scale,
        }
        key = (model["name"].removesuffix("-quickgelu"), model["pretrained"])
        if key in reported.index:
            row |= _beside(row, reported.loc[[key]].iloc[0])
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _beside(row: dict[str, Any], reported: pd.Series) -> dict[str, Any]:
    """What others report, how much higher ours is, and whether theirs lies in our interval."""
    inside = row["accuracy_low"] <= reported["accuracy"] <= row["accuracy_high"]
    return {
        "published": reported["accuracy"],
        "published_n": reported["n"],
        "published_difference": row["accuracy"] - reported["accuracy"],
        "published_inside": "yes" if inside else "no",
        "published_source": reported["source"],
    }


def sheet(rows: pd.DataFrame) -> Sheet:
    """The models on one benchmark, the most accurate first; the CSV has the rest."""
    rows = rows.sort_values("accuracy", ascending=False, kind="stable")
    has_published = rows["published"].notna().any()
    highest = rows["accuracy"].max()
    lines = []
    for row, text in zip(rows.to_dict("records"), sheets.texts(rows, FORMATS), strict=True):
        interval = f"[{text['accuracy_low']}, {text['accuracy_high']}]"
        cells = [
            Cell(row["label"]),
            Cell(text["accuracy"], interval, bool(row["accuracy"] == highest)),
            Cell(text["mae"]),
            Cell(text["off_by_one"]),
            Cell(f"{row['parameters'] / 1e6:.1f}"),
            Cell(f"{row['image_size']}"),
        ]
        if has_published:
            where = {"yes": "inside", "no": "outside"}.get(row["published_inside"], "")
            cells.append(Cell(text["published"] or "–", where))
        lines.append(cells)
    first = rows.iloc[0]
    headers = ["Model", "Accuracy (%)", "MAE", "Off by one (%)", "Parameters (million)", "Pixels"]
    sources = rows.dropna(subset="published")[["published_source", "published_n"]]
    notes = [
        f"n = {first['n']} images, the same for every model. Brackets hold 95 % confidence"
        " intervals (Wilson).",
        f"Nothing is trained. Chance is {scores.CHANCE:.2f} %. Off by one: within one of the true"
        " number.",
        "Many of these models were trained on web images of the kind that benchmarks are made of,"
        " and may have seen some of these.",
        *(
            f"Published: {source} (n = {n:.0f}); inside, outside: of our interval."
            for source, n in sources.drop_duplicates().itertuples(index=False)
        ),
        "▲ marks the highest accuracy.",
    ]
    return Sheet(
        f"Zero-shot counting without training, {first['benchmark']}, n = {first['n']}",
        [*headers, *(["Published (%)"] if has_published else [])],
        lines,
        notes,
        pages.stamp(first["scale"]),
    )


def make_table(
    predictions: list[str],
    facts: list[str],
    rows: dict[str, dict[int, int]],
    *,
    models: list[dict[str, str]],
    variant: str,
    published_csv: str,
    scale: str,
    csv_path: str,
    json_path: str,
    markdown_path: str,
) -> None:
    """Publish the table as CSV, JSON and Markdown.

    predictions, facts: paths <benchmark>/<model>.parquet and .json of `zero_shot.measure`.
    rows: benchmark -> index -> number of the rows that count. variant: of CountBench.
    """
    published = sheets.read_csv(published_csv)
    parts = []
    for benchmark, counted in rows.items():
        files = [file for file in predictions if Path(file).parent.name == benchmark]
        loaded = scores.load_predictions(files, counted)
        known = {
            Path(file).stem: read_json(file)
            for file in facts
            if Path(file).parent.name == benchmark
        }
        reported = published[published["benchmark"] == benchmark]
        title = f"{benchmark} ({variant})" if benchmark == COUNTBENCH else benchmark
        parts.append(table(loaded, known, title, models, reported, scale))
    whole = pd.concat(parts, ignore_index=True)
    whole["published"] = whole["published"].astype(np.float64)
    sheets.write_csv(whole, csv_path)
    by_benchmark = [sheet(part) for _, part in whole.groupby("benchmark", sort=False)]
    sheets.write_sheets(by_benchmark, json_path, markdown_path)
    log.info("%s", whole[["benchmark", "model", "accuracy"]].to_string(index=False))
