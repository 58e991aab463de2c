"""Tables as CSV, JSON, Markdown and LaTeX: exact numbers, and labels that stay text."""

import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker

from countclip.report import (
    ablations,
    pages,
    paper,
    relevancy,
    retention,
    retrieval,
    scores,
    sheets,
    table1,
)
from countclip.report.sheets import Cell, Sheet
from countclip.runtime.resources import resource

HOSTILE = r"</td><script>x()</script> | & % $ # _ { } ~ ^ \input{/etc/passwd} λ ” 🐶"


@pytest.fixture
def sheet() -> Sheet:
    return Sheet(
        f"Title {HOSTILE}",
        ["Configuration", "Accuracy, end (%)"],
        [[Cell(HOSTILE), Cell("30.43", "[26.59, 34.58]", best=True)], [Cell("[b]"), Cell("–")]],
        [f"A note {HOSTILE}"],
    )


def test_markdown_keeps_its_columns(sheet) -> None:
    rows = [line for line in sheets.markdown(sheet).splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2
    assert {row.replace("\\|", "").count("|") for row in rows} == {3}


SNEAKY = [
    *(HOSTILE, r"a\|b", "ends in \\", "**x** ▲", "[x](javascript:y)", "`|`", "_x_ &lt; <b>", "# x"),
    *("[1, 2]", "two\nlines", "λ_norm", "- x"),
]


def test_what_a_person_wrote_is_no_markup_in_markdown() -> None:
    shown = {
        r"a\|b": r"a\\\|b",
        "**x** <b>": r"\*\*x\*\* \<b>",
        "[x](y)": r"[x\](y)",
        "_x_ of λ_norm": r"\_x\_ of λ_norm",
        "`x` &lt; [1, 2]": r"\`x\` \&lt; [1, 2]",
        "two\nlines": "two lines",
    }
    text = sheets.markdown(Sheet("t", ["x"], [[Cell(label)] for label in shown], list(shown)))
    rows = [f"| {label} |" for label in shown.values()]
    notes = [f"- {label}" for label in shown.values()]
    assert text.splitlines() == ["# t", "", "| x |", "|:--|", *rows, "", *notes]


def test_json_of_any_text_is_read_as_it_was(tmp_path) -> None:
    rows = [[Cell(text), Cell("–", "[1, 2]", best=True)] for text in SNEAKY]
    written = [
        Sheet(HOSTILE, SNEAKY[:2], rows, SNEAKY, pages.stamp("miniature")),
        Sheet("Two", ["name"], [[Cell("only")]], []),
    ]
    path, text = str(tmp_path / "x.json"), tmp_path / "x.md"
    sheets.write_sheets(written, path, str(text))
    assert sheets.read_sheets(path) == written
    assert text.read_text() == "\n".join(map(sheets.markdown, written))
    (first, second) = json.loads((tmp_path / "x.json").read_text())
    assert first.keys() == {"title", "headers", "rows", "notes", "stamp"}
    assert first["rows"][0][1] == {"text": "–", "range": "[1, 2]", "best": True}
    assert second["stamp"] is None


def nodes(text: str) -> list:
    return LatexWalker(text, tolerant_parsing=False).get_latex_nodes()[0]


def test_latex_is_one_table_whose_rows_have_all_cells(sheet) -> None:
    text = sheets.latex(sheet, "tab:x")
    (table,) = (n for n in nodes(text) if isinstance(n, LatexEnvironmentNode))
    assert table.environmentname == "table*"
    (tabular,) = (n for n in table.nodelist if isinstance(n, LatexEnvironmentNode))
    body = tabular.latex_verbatim()
    lines = [line for line in body.splitlines() if line.endswith(r" \\")]
    assert len(lines) == 2 + 3 + 1  # two of headers, three of the hostile label
    assert {line.count(" & ") for line in (line.replace(r"\&", "") for line in lines)} == {1}
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert body.count(rule) == 1
    figure, interval = (line.split(" & ")[1] for line in lines[2:4])
    assert (figure, interval) == (r"\textbf{30.43} \\", r"[26.59, 34.58] \\")
    # `\\` takes a star or a bracket for its own, even on the next line.
    assert not any(line.startswith(("[", "*")) for line in body.splitlines())
    assert "{[b]} & " in body
    outside = text[: text.index(r"\begin{table*}")].splitlines()
    assert all(line.startswith("%") for line in outside)


def test_latex_escapes_what_it_would_read_as_its_own(sheet) -> None:
    text = sheets.latex(sheet, "tab:x")
    table = text[text.index(r"\begin") :]
    assert r"\& \% \$ \# \_ \{ \}" in table
    assert r"\input" not in table
    assert r"\ensuremath{\lambda}" in table
    table.encode("ascii")  # nothing is left that a LaTeX without the letter would stop at


def test_latex_has_minus_signs_and_its_exponents_as_they_are() -> None:
    row = [Cell("a-4"), Cell("-2.37", "[-6.92, 2.17]"), Cell("3.8e-05")]
    lines = sheets.latex(Sheet("t", ["a", "b", "c"], [row], []), "tab:x").splitlines()
    minus = r"\ensuremath{-}"
    assert rf"a-4 & {minus}2.37 & 3.8e-05 \\" in lines
    assert rf" & [{minus}6.92, 2.17] &  \\" in lines


def compiled(folder, *tables: Sheet) -> str:
    """What pdfLaTeX says of a letter page with these tables, if it can be made."""
    lines = [r"\documentclass{article}", r"\usepackage[T1]{fontenc}", r"\usepackage{booktabs}"]
    lines += [r"\usepackage[letterpaper,margin=1in]{geometry}", r"\begin{document}"]
    lines += [*(sheets.latex(one, "tab:x") for one in tables), r"\end{document}"]
    (folder / "a.tex").write_text("\n".join(lines))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    assert not done.returncode, done.stdout[-2000:]
    return done.stdout


needs_latex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs a LaTeX")


@needs_latex
def test_latex_compiles_whatever_a_label_holds(tmp_path) -> None:
    """A letter that LaTeX lacks without more packages is a question mark."""
    letters = "".join(map(chr, range(0x21, 0x3000)))
    strange = [*SNEAKY, "", "*", "}", r"\end{tabular}", "^^M^^41", "é Ж ą 你 ✓", letters]
    rows = [[Cell(text), Cell(text[:9], "[-1.5, 2.3]", True)] for text in strange]
    compiled(tmp_path, Sheet(HOSTILE, ["a", HOSTILE], rows, SNEAKY))


@needs_latex
def test_table_1_with_several_seeds_is_no_wider_than_a_page(tmp_path) -> None:
    widest = Cell("61.11 ± 7.86", "[51.20, 70.09]", True)
    columns = {
        "Configuration": Cell("scheduler and λ_modal and L_count+, no logit scale"),
        "Accuracy, end of training (%)": widest,
        "Difference to baseline": Cell("-12.45", "[-17.17, -10.39]"),
        "p, corrected": Cell("1.9e-06"),
        "Accuracy, best on the benchmark (%)": widest,
        "Accuracy, selected on held-out data (%)": widest,
        "Paper, end (%)": Cell("26.33", "outside"),
        "Paper, best (%)": Cell("28.88", "outside"),
    }
    said = compiled(tmp_path, Sheet("Table 1", list(columns), [list(columns.values())], []))
    assert "Overfull" not in said


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="row 'a' has 1 cells"):
        Sheet("t", ["x", "y"], [[Cell("a")]], [])


def test_a_csv_has_each_float_as_it_is(tmp_path) -> None:
    floats = [*np.random.default_rng(0).normal(size=100), 0.1 + 0.2, 1 / 3, 1e-300, 0.0496, 0.125]
    table = pd.DataFrame({"a": [*floats, np.nan], "b": True, "t": "NA", "e": ""})
    table["i"] = pd.array([None, *range(len(floats))], "Int64")
    sheets.write_csv(table, str(tmp_path / "x.csv"))
    again = sheets.read_csv(tmp_path / "x.csv", i="Int64").fillna({"e": ""})
    pd.testing.assert_frame_equal(again, table, check_exact=True)


def test_the_text_of_numbers() -> None:
    table = pd.DataFrame({"a": [1.0, None], "p": [0.01234, None], "n": [3, 4], "t": ["x", ""]})
    table["i"] = pd.array([None, 7], "Int64")
    formats = {"a": sheets.TWO_DECIMALS, "p": sheets.p_value, "n": sheets.COUNT, "i": sheets.COUNT}
    assert sheets.texts(table, formats) == [
        {"a": "1.00", "p": "0.012", "n": "3", "i": ""},
        {"a": "", "p": "", "n": "4", "i": "7"},
    ]
    with pytest.raises(KeyError):
        sheets.texts(table, {"absent": sheets.COUNT})


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "1"), (0.43, "0.43"), (0.012345, "0.012"), (8.2e-7, "8.2e-07"), (0.0, "0"),
        (0.0496, "0.0496"), (0.04996, "0.04996"), (0.05, "0.05"), (0.0504, "0.05"),
        (np.nextafter(0.05, 0), "0.049999999999999996"),
    ],
)  # fmt: skip
def test_a_p_value_is_shown_on_its_side_of_the_level(p, text) -> None:
    assert sheets.p_value(p) == text


# ---- each table's declared formats ----


def made_up(columns, rows: int = 3) -> pd.DataFrame:
    """A table with a different number in every cell of every column, texts apart."""
    rng = np.random.default_rng(0)
    return pd.DataFrame({column: rng.uniform(1, 99, rows) for column in columns})


def table_1():
    table = made_up(scores.COLUMNS).assign(
        variant=["baseline", "a", "b"], label="label", seeds=["", "one two", "one two"], ties=0,
        n=100, n_per_class=" ".join("9" * 9), benchmark="mine", scale="paper",
        paper_end_inside="yes", paper_best_inside="no",
    )  # fmt: skip
    return table, table1.FORMATS, [table1.sheet(table)], {0}


def ablations_table():
    table = made_up(ablations.COLUMNS).assign(
        variant=["a", "b", "c"],
        label="label",
        changed="loss",
        decoding="argmax",
        count_plus="b",
        benchmark="mine",
        scale="paper",
    )
    settings = dict.fromkeys("abc", {"loss": "count"})
    return table, ablations.FORMATS, [ablations.sheet(table, settings, "a")], {0}


def paper_table():
    table = paper.table(resource("resources/paper_confusion_matrices.json"))
    return table, paper.FORMATS, [paper.sheet(table)], {0}


def retention_table():
    measures = [(name, state) for name in ("top-1", "image to text, recall@1")
                for state in retention.CHECKPOINTS]  # fmt: skip
    table = made_up(retention.COLUMNS, len(measures)).assign(
        task="things", variant="a", label="label", scale="paper", n=100
    )
    table[["measure", "checkpoint"]] = measures
    return table, retention.FORMATS, retention.retention_sheets(table), {0}


def wise_ft_table():
    alphas = [0, 0.125, 1]
    run = made_up(["benchmark_accuracy", "heldout_accuracy", "things"]) / 100
    table = retention.wise_ft(
        {"a": [run.assign(alpha=alphas)]}, 100, variants=[{"id": "a", "label": "label"}],
        tasks=["things"], checkpoint="end", benchmark="mine", scale="paper",
    )  # fmt: skip
    formats = retention.wise_ft_formats(["things"])
    return table, formats, [retention.wise_ft_sheet(table, ["things"])], {0}


def by_number(columns) -> pd.DataFrame:
    return made_up(columns, 2).assign(
        variant=["baseline", "a"], label="label", number="all", scale="paper", k=5,
        candidates="every", queries=30, captions=40, left_out=2,
    )[columns]  # fmt: skip


def retrieval_table():
    table = by_number(retrieval.COLUMNS).assign(candidates=retrieval.ALL)
    return table, retrieval.FORMATS, retrieval.retrieval_sheets(table), {0}


def relevancy_table():
    table = by_number(relevancy.COLUMNS)
    return table, relevancy.FORMATS, [relevancy.sheet(table)], {0}


TABLES = (
    *(table_1, ablations_table, paper_table, retention_table, wise_ft_table),
    *(retrieval_table, relevancy_table),
)


@pytest.mark.parametrize("make", TABLES, ids=lambda make: make.__name__)
def test_every_number_of_a_sheet_has_the_format_that_its_column_declares(make) -> None:
    table, formats, views, text_columns = make()
    assert set(formats) <= set(table.columns)
    declared = {text for row in sheets.texts(table, formats) for text in row.values()}
    number = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?")
    shown = {
        text
        for view in views
        for row in view.rows
        for place, cell in enumerate(row)
        if place not in text_columns
        for text in number.findall(f"{cell.text} {cell.range}")
    }
    assert len(shown) > 3
    assert shown <= declared
