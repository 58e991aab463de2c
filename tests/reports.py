"""Runs made up without any training, for tests of the report over them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from countclip.data.number_words import WORDS
from countclip.report import pages, run_page, scores, sheets
from countclip.report.sheets import Cell, Sheet
from countclip.runtime.resources import resource
from workflow.conftest import DEFAULT

FUNNEL = [
    {"step": "filter", "rows": 50, "kept": 30, "lost": {"no_number_word": 20, "nsfw": 0}},
    {"step": "download", "rows": 30, "kept": 21, "lost": {"http_404": 7, "timeout": 2}},
]
LOOSE = [("baseline", 30.43, None), ("a", 45.06, 8e-7), ("b", 22.13, 0.003), ("c", 31.5, 0.7)]


def table1(
    rows: list[tuple[str, float, float | None]],
    labels: dict[str, str] | None = None,
    seeds: str = "1",
) -> pd.DataFrame:
    """Table 1 with the columns that the report reads: variant, accuracy, corrected p and more.

    Intervals of accuracies reach 5 to both sides, those of differences 4.
    """
    labels = labels or {}
    lines = [
        {
            "variant": name,
            "label": labels.get(name, f"label of {name}"),
            "benchmark": "repaired",
            "n": 506,
            "n_per_class": "56 56 56 56 56 56 57 56 57",
            "accuracy_end": accuracy,
            "accuracy_end_low": max(0, accuracy - 5),
            "accuracy_end_high": min(100, accuracy + 5),
            "difference_baseline": accuracy - rows[0][1],
            "difference_baseline_low": accuracy - rows[0][1] - 4,
            "difference_baseline_high": accuracy - rows[0][1] + 4,
            "p_end_vs_baseline_holm": p,
            "seeds": "" if name == "baseline" else seeds,
        }
        for name, accuracy, p in rows
    ]
    table = pd.DataFrame(lines, columns=scores.COLUMNS)
    return table.astype({"p_end_vs_baseline_holm": float})


class Run:
    """The results of a run under the working directory, and the page over them.

    rows: variant, accuracy and corrected p of each row of Table 1. labels: of some variants.
    results: the folder of them.
    """

    def __init__(
        self, rows: list = LOOSE, labels: dict[str, str] | None = None, results: str = "results"
    ) -> None:
        self.results = results
        self.files: list[str] = []
        table = table1(rows, labels)
        sheets.write_csv(table, f"{results}/table1.csv")
        cells = [[Cell(row.label), Cell(f"{row.accuracy_end}", "[1.00, 2.00]", row.variant == "a")]
                 for row in table.itertuples()]  # fmt: skip
        sheet = Sheet("Table 1", ["what", "how"], cells, ["said"])
        sheets.write_sheets([sheet], f"{results}/table1.json", f"{results}/table1.md")
        self.funnel()
        of_classes = {"n": 9, "n_per_class": {str(number): 1 for number in WORDS}, "missing": []}
        audit = {"rows": 540, "by_status": {"alive": 9}, "original": of_classes}
        self.write("countbench/summary.json", json.dumps(audit))
        self.further: list[str] = []
        self.write("training/a/seed1/model.json", json.dumps({"versions": {"torch": "0.0.1"}}))

    def write(self, name: str, text: str) -> str:
        path = Path(self.results, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def add(self, name: str, text: str) -> None:
        """One more table or figure of the run."""
        self.files.append(self.write(name, text))

    def add_sheet(self, name: str, *rows: tuple[str, ...], **fields: Any) -> Sheet:
        """One more sheet of the run: JSON with as many columns as its rows have cells."""
        cells = [[Cell(text) for text in row] for row in rows]
        headers = [f"column {number}" for number in range(len(rows[0]))]
        sheet = Sheet(**{"title": name, "headers": headers, "rows": cells, "notes": []} | fields)
        path = f"{self.results}/{name}"
        sheets.write_sheets([sheet], path)
        self.files.append(path)
        return sheet

    def funnel(self, steps: list[dict[str, Any]] = FUNNEL) -> None:
        numbers = {"candidates": 9, "downloaded": 8, "matched": 7, "train": 6, "heldout": 1}
        summary = {"rows": 50, "train": 20, "counting": steps, "non_counting": steps}
        summary["numbers"] = [{"number": number, **numbers} for number in WORDS]
        self.write("counting_set/main/summary.json", json.dumps(summary))

    def render(self, scale: str = "paper", **own: Any) -> Path:
        page = Path(self.results, "report.html").absolute()
        run_page.render_report(
            table1_csv=f"{self.results}/table1.csv",
            results=[f"{self.results}/table1.{kind}" for kind in ("csv", "json", "md")]
            + self.files,
            funnels=[f"{self.results}/counting_set/main/summary.json"],
            audit_summary=f"{self.results}/countbench/summary.json",
            benchmark_summaries=self.further,
            models=[f"{self.results}/training/a/seed1/model.json"],
            audit_page=f"{self.results}/countbench/audit.html",
            template=resource("resources/report.html.jinja"),
            page=str(page),
            scale=scale,
            **{"gpus": {}, "costs": f"{self.results}/costs", "config": DEFAULT, **own},
        )
        return page


STAMPS = [part for stamp in pages.STAMPS.values() for part in stamp or ()]
