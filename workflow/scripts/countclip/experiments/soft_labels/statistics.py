"""The table of the objects of caption sets, beside the published one."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from countclip.report import pages, sheets
from countclip.report.sheets import ONE_DECIMAL, TWO_DECIMALS, Cell, Sheet

UNITS = {
    "concrete": "things",
    "nouns": "nouns",
    "phrases": "noun phrases",
    "llm": "what a language model lists",
}
FORMATS = {
    **dict.fromkeys(("captions", "objects", "tail_objects"), "{:,.0f}".format),
    "objects_a_caption": TWO_DECIMALS,
    **dict.fromkeys(
        ("without_objects_percent", "seen_once_percent", "tail_mentions_percent"), ONE_DECIMAL
    ),
}
HEADERS = {
    "captions": "Captions",
    "objects": "Objects",
    "tail_objects": "Tail objects",
    "objects_a_caption": "Objects a caption",
    "without_objects_percent": "Captions without (%)",
    "seen_once_percent": "Objects seen once (%)",
    "tail_mentions_percent": "Mentions of the tail (%)",
}
NOTES = [
    "Objects are counted once a caption. Things are visible, as single words; nouns are all nouns"
    " in the singular; phrases are runs of nouns.",
    "The tail is the rarest floor(0.3 N) of N objects, ordered by mentions and then by name. The"
    " three published tails are that number exactly. Most objects of a set are seen once, so the"
    " line runs through objects of equal frequency.",
    "How AlignCLIP's authors count is not published: neither the tagger, nor whether an object is a"
    " word or a phrase. CC3M has fewer different words than they count objects, so that theirs"
    " cannot all be single words.",
    "Published rows are of other captions. A larger set has more objects: compare no levels.",
]


def make_statistics(
    counts: Sequence[tuple[str, str]],
    *,
    published_csv: str,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    scale: str,
) -> None:
    """Publish the table as CSV, JSON and Markdown.

    counts: label of a set, and a JSON of `object_counts.count_objects` or
    `llm_counts.count_llm_objects`. published_csv: set, captions, objects, tail_objects and source.
    """
    table = statistics(counts, published_csv, scale)
    sheets.write_csv(table, csv_path)
    sheets.write_sheets([sheet(table)], json_path, markdown_path)


def statistics(counts: Sequence[tuple[str, str]], published_csv: str, scale: str) -> pd.DataFrame:
    """A row for each set and unit, and for each published set.

    Columns: set, unit, captions, objects, tail_objects, mentions, seen_once, tail_mentions,
    captions_without, the four ratios of HEADERS, dropped (captions by reason), scale, source.
    """
    rows = []
    for label, path in counts:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        dropped = "; ".join(f"{reason}: {n}" for reason, n in sorted(read["dropped"].items()))
        for unit, found in read["units"].items():
            row = {"set": label, "unit": unit, "captions": read["captions"], **found}
            row |= {
                "objects_a_caption": _ratio(found["mentions"], read["captions"]),
                "without_objects_percent": _ratio(
                    100 * found["captions_without"], read["captions"]
                ),
                "seen_once_percent": _ratio(100 * found["seen_once"], found["objects"]),
                "tail_mentions_percent": _ratio(100 * found["tail_mentions"], found["mentions"]),
                "dropped": dropped,
                "scale": scale,
                "source": "",
            }
            rows.append(row)
    published = sheets.read_csv(published_csv).assign(unit="", scale="")
    ours = pd.DataFrame(rows)
    return pd.concat([ours, published], ignore_index=True)[list(ours)]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def sheet(table: pd.DataFrame) -> Sheet:
    """The table as readers see it."""
    lines = []
    for row, text in zip(table.to_dict("records"), sheets.texts(table, FORMATS), strict=True):
        name = Cell(row["set"], "(published)" if row["source"] else "")
        cells = [Cell(text[column] or "–") for column in HEADERS]
        lines.append([name, Cell(UNITS.get(row["unit"], "–")), *cells])
    ours = table[table["source"] == ""]
    by = ours["unit"].map(lambda unit: ", for the language model" if unit == "llm" else "")
    dropped = ours.assign(counted=ours["set"] + by)[["counted", "dropped"]].drop_duplicates()
    notes = [
        f"{counted}: captions dropped: {reasons}."
        for counted, reasons in dropped.itertuples(index=False)
        if reasons
    ]
    stamp = pages.stamp(ours["scale"].iloc[0]) if len(ours) else None
    sources = sorted({source for source in table["source"] if source})
    notes += [f"Published: {source}." for source in sources]
    title = "Objects of captions"
    title = f"{title}. {stamp.short}" if stamp else title
    return Sheet(title, ["Set", "Objects are", *HEADERS.values()], lines, [*NOTES, *notes], stamp)
