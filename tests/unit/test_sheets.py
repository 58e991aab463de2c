"""Tables as Markdown, as a page and for LaTeX: whatever a label holds, it stays text."""

import shutil
import subprocess

import pandas as pd
import pytest
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker

from countclip.report import pages, sheets
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


def test_a_page_escapes(sheet) -> None:
    page = sheets.page([sheet, sheet], resource("resources/table.html.jinja"))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 2 * 4 + 1  # titles twice, cells, notes; the page's
    assert page.count("<h1>") == page.count("<h2>") == 1
    assert page.count("<th scope=row>") == 2 * len(sheet.rows)  # its first cell names a row


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


def test_markdown_of_whatever_text_is_read_as_it_was() -> None:
    rows = [[Cell(text), Cell("–", best=True)] for text in SNEAKY]
    (again,) = sheets.read_markdown(sheets.markdown(Sheet(HOSTILE, SNEAKY[:2], rows, SNEAKY)))
    lines = [" ".join(text.split()) for text in SNEAKY]
    assert again.title == HOSTILE
    assert again.headers == lines[:2]
    assert again.notes == lines
    assert [f"{row[0].text} {row[0].range}".strip() for row in again.rows] == lines
    assert {(row[0].best, row[1].best) for row in again.rows} == {(False, True)}


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


def test_the_text_of_numbers() -> None:
    table = pd.DataFrame({"a": [1.0, None], "p_x": [0.01234, None], "n": [3, 4], "t": ["x", ""]})
    table["i"] = pd.array([None, 7], "Int64")
    assert sheets.texts(table).to_dict("list") == {
        "a": ["1.00", ""], "p_x": ["0.012", ""], "n": ["3", "4"], "t": ["x", ""], "i": ["", "7"],
    }  # fmt: skip


def test_markdown_is_read_again_one_table_below_the_other():
    rows = [
        [Cell("a | b\nc"), Cell("45.06", "[40.78, 49.42]", best=True), Cell("27.50 inside")],
        [Cell("**not bold** at all"), Cell("–"), Cell("")],
    ]
    made = [
        Sheet("One. A title", ["name", "accuracy, end (%)", "x|y"], rows, ["a note", "- another"]),
        Sheet("Two", ["name"], [[Cell("only")]], [], pages.stamp("miniature")),
    ]
    first, second = sheets.read_markdown("\n".join(map(sheets.markdown, made)))
    assert first.rows[0][0] == Cell("a | b c")  # in one line
    assert first.rows[0][1:] + first.rows[1] == rows[0][1:] + rows[1]
    assert (first.title, first.headers, first.notes) == (
        made[0].title, made[0].headers, made[0].notes,
    )  # fmt: skip
    assert second == Sheet("Two", ["name"], [[Cell("only")]], [])


@pytest.mark.parametrize("text", ["", "no heading\n", "# A title\n\nbut no table\n"])
def test_markdown_without_a_table_is_refused(text):
    with pytest.raises(ValueError, match="no "):
        sheets.read_markdown(text)
