"""The report: its main result, its sections, and every table and figure of a run."""

import copy
import re

import pytest
from markupsafe import escape

from audits import picture
from countclip.benchmarks import custom
from countclip.report import pages, run_page
from countclip.report.sheets import Cell
from reports import DEFAULT, FUNNEL, STAMPS, Run


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run()


@pytest.mark.parametrize("scale", pages.STAMPS)
def test_the_page_is_stamped(run, scale) -> None:
    text = run.render(scale).read_text()
    shown = [part for part in STAMPS if str(escape(part)) in text]
    assert shown == list(pages.stamp(scale) or ())
    before_the_table = text.partition('<section id="table1">')[0]
    for part in shown:
        assert str(escape(part)) in before_the_table


def test_the_finding_comes_first_then_the_plot_then_the_table(run) -> None:
    text = run.render().read_text()
    order = ["<h1>", 'class="finding">45.1', '<figure class="plot"', '<section id="table1">']
    places = [text.index(part) for part in order]
    assert places == sorted(places)


@pytest.mark.parametrize(("p", "better"), [(0.0496, 1), (0.0504, 0)])
def test_the_page_judges_the_exact_p_of_the_csv(tmp_path, monkeypatch, p, better) -> None:
    monkeypatch.chdir(tmp_path)
    text = Run(rows=[("baseline", 30.43, None), ("a", 45.06, p)]).render().read_text()
    assert f"significantly above the baseline: {better}<" in text
    assert ("a significant gain" in text) == bool(better)


def test_each_figure_stands_below_its_table(run) -> None:
    for name in ("wise_ft", "retrieval", "relevancy", "training_curves", "lambdas_main"):
        run.add(f"figures/{name}.svg", "<svg/>")
    run.add("figures/class_frequency_other.svg", "<svg/>")  # of no counting set of the run
    for name in ("relevancy", "retrieval", "wise_ft", "retention"):
        run.add_sheet(f"{name}.json", ("x",), title=f"the table {name}")
    text = run.render().read_text()
    parts = r"<h3>(the table \w+|Pairs of each .*?)</h3>|<figcaption>results/(.*?)<"
    shown = re.findall(parts, text)
    assert [table or figure for table, figure in shown] == [
        "figures/training_curves.svg",
        "the table retention", "the table wise_ft", "figures/wise_ft.svg",
        "the table retrieval", "figures/retrieval.svg",
        "the table relevancy", "figures/relevancy.svg",
        "figures/class_frequency_other.svg",
        "Pairs of each number, counting set main", "figures/lambdas_main.svg",
    ]  # fmt: skip


def test_the_papers_results_are_folded_away_and_so_are_several_notes(run) -> None:
    run.add_sheet("paper.json", ("p",), title="of the paper", notes=["one note"])
    run.add_sheet("retention.json", ("r",), title="of ours", notes=["note a", "note b"])
    text = run.render().read_text()
    assert "<summary>of the paper</summary>" in text
    assert "<h3>of ours</h3>" in text
    assert '<p class="note">one note</p>' in text
    notes = text.partition("<summary>Notes (2)</summary>")[2].partition("</details>")[0]
    assert "<li>note a</li><li>note b</li>" in notes


def test_a_table_is_shown_as_its_json_has_it_and_a_long_one_is_folded_away(run) -> None:
    run.add("paper.csv", "secret_column\n1\n")
    run.add("paper.md", "# secret title\n\n| secret |\n|:--|\n| x |\n")
    cells = [[Cell("1 | 2", "[0, 3]", best=True), Cell("0.0496")]]
    run.add_sheet("paper.json", ("", ""), rows=cells, notes=["a note"])
    run.add_sheet("wise_ft.json", *[("0.125",)] * run_page.FOLDED, title="a long table")
    text = run.render().read_text()
    assert "secret" not in text
    assert '>▲ 1 | 2 <span class="range">[0, 3]</span>' in text
    for shown in ("a note", ">0.0496</td>", "<summary>a long table</summary>", ">0.125</th>"):
        assert shown in text, shown


WRONG = ["# The paper\n", "{}", "[]", "3", '[{"title": "x"}]', '[{"rows": 3}]']


@pytest.mark.parametrize("wrong", WRONG)
def test_a_json_without_tables_is_named(run, wrong) -> None:
    run.add("paper.json", wrong)
    with pytest.raises(ValueError, match=r"results/paper.json: not a list of tables"):
        run.render()


def test_what_this_run_does_not_have_is_named(run) -> None:
    run.add_sheet("paper.json", ("x",))
    text = run.render().read_text()
    absent = text[text.index("Not in this run") :]
    assert "Further benchmarks (results/benchmarks/*/table.*)" in absent
    assert "The paper&#39;s results" not in absent
    assert 'id="paper"' in text
    assert 'id="benchmarks"' not in text


def test_a_run_under_a_prefix_has_the_same_sections(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pages_of = []
    for folder in ("results", "counting/results"):
        run = Run(results=folder)
        run.add_sheet("paper.json", ("x",))
        run.add_sheet("benchmarks/mine/table.json", ("x",))
        run.add("figures/wise_ft.svg", "<svg>")
        run.add("figures/training_curves.svg", "<svg>")
        pages_of.append(run.render().read_text().replace("counting/", ""))
    assert pages_of[0] == pages_of[1]
    assert 'id="benchmarks"' in pages_of[0]


def test_a_file_that_no_section_shows_is_named(run) -> None:
    run.add("surprise.csv", "a\n1\n")
    with pytest.raises(ValueError, match=r"no section shows results/surprise.csv"):
        run.render()


def test_the_page_keeps_to_a_size_whatever_the_figures_are(run, monkeypatch) -> None:
    monkeypatch.setattr(run_page, "LARGEST", 100)
    monkeypatch.setattr(run_page, "LONGEST", 2)
    run.add("figures/lambdas_both.svg", "<svg>" + " " * 200)
    run.add("figures/lambdas_both.png", "small")
    run.add("figures/lambdas_large.svg", "<svg>" + " " * 200)
    run.add("figures/lambdas_large.png", "." * 200)
    run.add_sheet("wise_ft.json", *[("row",)] * 5)
    text = run.render().read_text()
    assert text.count("data:image/png") == 1
    assert text.count("data:image/svg") == 0
    assert "Too large to be shown here" in text
    assert text.count(">row</th>") == 2
    assert "3 more rows" in text


def test_the_funnel_shows_every_reason_and_adds_up(run) -> None:
    text = run.render().read_text()
    assert "no number word 20" in text
    assert "http 404 7, timeout 2" in text
    assert "50 rows − 29 removed = 21 pairs" in text
    assert "nsfw" not in text.split("<details>")[0]  # nothing was lost by it
    leaking = copy.deepcopy(FUNNEL)
    leaking[1]["lost"]["timeout"] = 1
    run.funnel(leaking)
    with pytest.raises(ValueError, match=r"main/summary.json: .*do not add up at .*download"):
        run.render()


def test_rows_of_further_benchmarks_are_left_out_for_a_reason(run, tmp_path) -> None:
    (tmp_path / "one.png").write_bytes(picture(1))
    rows = ["image,caption,number", "one.png,two cats,2", "gone.png,two cats,2", "one.png,cats,99"]
    (tmp_path / "mine.csv").write_text("\n".join(rows) + "\n")
    folder = "results/benchmarks/mine"
    custom.read(
        str(tmp_path / "mine.csv"),
        benchmark_parquet=f"{folder}/benchmark.parquet",
        images_parquet=f"{folder}/images.parquet",
        summary_json=f"{folder}/summary.json",
        source="folder",
        image_source=str(tmp_path),
        template="{number} {noun}",
        expected=None,
        max_bytes=10**6,
        image_limits={"max_pixels": 10**6, "min_side": 32},
    )
    run.further.append(f"{folder}/summary.json")
    text = run.render().read_text()
    row = text[text.index("<th scope=row>mine") :].split("</tr>")[0]
    assert re.findall("<td.*?>(.*?)\n?</td>", row) == [
        "3", "1", "1 its image is not there; 1 its number is not one of two to ten",
    ]  # fmt: skip


def test_the_config_says_what_differs_from_the_default(run) -> None:
    config = copy.deepcopy(DEFAULT)
    assert "It is the default" in run.render(config=config).read_text()
    config["training"]["epochs"] = 77
    config["variants"]["log_sched"] = None
    text = run.render(config=config).read_text()
    differs, whole = text[text.index('id="config"') :].split("<details>", 1)
    assert re.findall(r'<th scope=row>(.*?)</th>', differs) == [
        "training.epochs", "variants.log_sched",
    ]  # fmt: skip
    assert re.search("<td.*?>77</td><td.*?>2</td>", differs)
    assert "training.batch_size" in whole
    assert whole.count('best">▲ ') == 2


def test_costs_are_added_up_by_rule(run) -> None:
    header = "s\th:m:s\tmax_rss\n"
    run.write("costs/train_variant/a_seed1.tsv", header + "3600\t1:00:00\t2000\n")
    run.write("costs/train_variant/b_seed1.tsv", header + "1800\t0:30:00\t3000\n")
    run.write("costs/make_world.tsv", header + "36\t0:00:36\t-\n")
    text = run.render(gpus={"train_variant/a_seed": 2}).read_text()
    costs = text[text.index('id="costs"') :]
    rows = re.findall(r"<tr><th scope=row>(.*?)</th>(.*?)</tr>", costs.split("</table>")[0])
    cells = {name: re.findall("<td>(.*?)</td>", row) for name, row in rows}
    assert cells == {
        "make_world": ["1", "0:00:36", "0:00:36", "–", "–"],
        "train_variant": ["2", "1:30:00", "1:00:00", "3.00", "2.00"],
        "all": ["3", "1:30:36", "1:00:00", "3.00", "2.00"],
    }


def test_a_run_whose_costs_nobody_measured_has_a_page(run) -> None:
    assert 'id="costs"' in run.render().read_text()


def test_the_same_run_gives_the_same_bytes(run) -> None:
    assert run.render().read_bytes() == run.render().read_bytes()
