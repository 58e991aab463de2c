"""How well single words are read: tables and a figure by kind, face, letters and height."""

import numpy as np
import pandas as pd

from countclip.report import pages, sheets, statistics
from countclip.report.plotting import INK, LINES, MARKERS, drawing
from countclip.report.sheets import ONE_DECIMAL, Cell, Sheet

KINDS = {
    "sign": "seen words",
    "unseen": "unseen words",
    "pseudo": "pseudo words",
}
HEIGHTS = (0, 8, 10, 12, 15, np.inf)
"""Bounds of the classes of height, in pixels of the model."""
BY = ("kind", "faces", "letters", "height")


def word_table(words: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Accuracy in percent of each reader and group of images: by kind and face, and by kind with
    letters or height. `by` names the group's column, `value` its value."""
    words = words.assign(
        right=words["rank"] == 1,
        height=pd.cut(words["height"], HEIGHTS, right=False).astype(str),
    )
    rows = []
    for by in BY[1:]:
        groups = words.groupby(["reader", "kind", by], sort=False, observed=True)
        for (reader, kind, value), of_group in groups:
            n, share = len(of_group), float(of_group["right"].mean())
            low, high = statistics.wilson(share, n)
            rows.append(
                {
                    "reader": reader,
                    "kind": kind,
                    "by": by,
                    "value": value,
                    "n": n,
                    "accuracy": 100 * share,
                    "accuracy_low": 100 * low,
                    "accuracy_high": 100 * high,
                    "chance": 100 * float((1 / of_group["candidates"]).mean()),
                    "scale": scale,
                }
            )
    return pd.DataFrame(rows)


def make_words(
    words_parquet: str,
    labels: dict[str, str],
    scale: str,
    *,
    csv_path: str,
    json_path: str,
    markdown_path: str,
) -> None:
    """Publish the table of words as CSV, JSON and Markdown.

    words_parquet: of `words.read_words`. labels: of its readers.
    """
    table = word_table(pd.read_parquet(words_parquet), scale)
    sheets.write_csv(table, csv_path)
    sheets.write_sheets([word_sheet(table, labels)], json_path, markdown_path)


def word_sheet(table: pd.DataFrame, labels: dict[str, str]) -> Sheet:
    """Accuracy of each reader by kind of word and of face."""
    table = table[table["by"] == "faces"]
    columns = [(kind, faces) for kind in KINDS for faces in ("seen", "unseen")]
    names = ("accuracy", "accuracy_low", "accuracy_high")
    texts = sheets.texts(table, dict.fromkeys(names, ONE_DECIMAL))
    cells = {
        (row.reader, row.kind, row.value): Cell(
            text["accuracy"], f"[{text['accuracy_low']}, {text['accuracy_high']}]"
        )
        for row, text in zip(table.itertuples(), texts, strict=True)
    }
    lines = [
        [Cell(labels[reader]), *(cells.get((reader, *column), Cell("–")) for column in columns)]
        for reader in dict.fromkeys(table["reader"])
    ]
    chance = table.groupby("kind")["chance"].first()
    return Sheet(
        "Which words are read",
        ["Row", *(f"{KINDS[kind]}, {faces} faces (%)" for kind, faces in columns)],
        lines,
        [
            "Images of one word each, named among all words of its kind. Chance:"
            f" {', '.join(f'{KINDS[kind]} {chance[kind]:.2f} %' for kind in chance.index)}."
            " Brackets hold 95 % intervals (Wilson).",
            "Unseen words and pseudo words stand in no training image or text. Unseen faces are in"
            " no training image. What is read there is read letter by letter.",
        ],
        pages.stamp(table["scale"].iloc[0]),
    )


def draw_words(table: pd.DataFrame, reader: str, label: str, *, svg: str, png: str) -> None:
    """Draw one reader's accuracy by letters and by height, a line a kind of word."""
    table = table[table["reader"] == reader]
    scale = table["scale"].iloc[0]
    with drawing(svg, png, scale, 8, 3.4, f"Which words are read: {label}") as figure:
        for axes, by in zip(figure.subplots(1, 2, sharey=True), BY[2:], strict=True):
            of_panel = table[table["by"] == by]
            values = sorted(set(of_panel["value"]), key=_start)
            for place, (kind, title) in enumerate(KINDS.items()):
                rows = of_panel[of_panel["kind"] == kind].set_index("value").reindex(values)
                axes.errorbar(
                    np.arange(len(values)) + 0.08 * (place - 1),
                    rows["accuracy"],
                    np.abs(rows[["accuracy_low", "accuracy_high"]].to_numpy().T
                           - rows["accuracy"].to_numpy()),
                    color=INK[place], linestyle=LINES[place], marker=MARKERS[place], label=title,
                    capsize=2, linewidth=1.2, markersize=4,
                )  # fmt: skip
            axes.axhline(of_panel["chance"].mean(), color="#555555", linestyle=(0, (1, 2)))
            axes.set_xticks(range(len(values)), [_class(value) for value in values])
            titles = {"letters": "letters", "height": "height in the model's pixels"}
            axes.set_xlabel(titles[by])
        figure.axes[0].set_ylabel("accuracy (%)")
        figure.axes[0].legend(fontsize=8)


def _start(value: int | str) -> float:
    return float(str(value).strip("[").partition(",")[0])


def _class(value: int | str) -> str:
    if not str(value).startswith("["):
        return str(value)
    low, high = str(value).strip("[)").split(", ")
    if float(low) == 0:
        return f"< {float(high):g}"
    return f"≥ {float(low):g}" if high == "inf" else f"{float(low):g} to {float(high):g}"
