"""Table 1 from made-up predictions, so that every number is known."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from countclip.evaluation import counting
from countclip.report import pages, scores, sheets, table1
from countclip.runtime.resources import resource

NUMBERS = np.tile(np.arange(2, 11), 10)
VARIANTS = [
    {
        "id": "norm_sched",
        "label": "scheduler and <i>norm</i> | x",
        "schedule": "warmup_cosine",
        "lambda_scheme": "norm",
        "loss": "count",
    },
    {"id": "extra", "label": "extra", "schedule": "none", "lambda_scheme": "log", "loss": "count"},
]


def predictions(right: int, variant: str, seed: int, folder, checkpoints=("end",)) -> str:
    """The first `right` images right, the others one too low or high; the last one a tie."""
    guess = np.where(NUMBERS < 10, NUMBERS + 1, NUMBERS - 1)
    guess[:right] = NUMBERS[:right]
    similarity = np.eye(9)[guess - 2]
    similarity[-1] = 1.0
    alone = np.random.default_rng(seed).permutation(NUMBERS)
    frame = counting.predictions(similarity, np.arange(len(NUMBERS)), NUMBERS, alone)
    path = str(folder / f"{variant}{seed}.parquet")
    counting.write_predictions(dict.fromkeys(checkpoints, frame), variant, seed, path)
    return path


def all_predictions(folder) -> list[str]:
    return [
        predictions(30, "baseline", 0, folder),
        predictions(60, "norm_sched", 0, folder, scores.CHECKPOINTS),
        predictions(50, "norm_sched", 1, folder, scores.CHECKPOINTS),
        predictions(30, "extra", 0, folder, scores.CHECKPOINTS),
        predictions(30, "extra", 1, folder, scores.CHECKPOINTS),
    ]


@pytest.fixture
def paths(tmp_path) -> list[str]:
    return all_predictions(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder of all files of Table 1 of the miniature, for tests that only read them."""
    folder = tmp_path_factory.mktemp("table1")
    make(all_predictions(folder), folder)
    return folder


@pytest.fixture(scope="module")
def rows(made) -> pd.DataFrame:
    return read(made).set_index("variant")


FILES = {
    "csv_path": "table1.csv",
    "json_path": "table1.json",
    "markdown_path": "table1.md",
    "latex_path": "table1.tex",
    "per_class_csv": "table1_per_class.csv",
}
PAPER = resource("resources/paper_table1.csv")
ALL = dict(enumerate(NUMBERS.tolist()))


def make(paths, folder, scale="miniature", rows=ALL, reference="extra", **more) -> pd.DataFrame:
    table1.make_table1(
        paths,
        paper_csv=PAPER,
        **{kind: str(folder / name) for kind, name in FILES.items()},
        rows=rows,
        benchmark="repaired",
        variants=VARIANTS,
        reference=reference,
        scale=scale,
        **more,
    )
    return read(folder)


def read(folder) -> pd.DataFrame:
    return scores.read_table1(folder / "table1.csv")


def test_table1(made) -> None:
    table = read(made)
    assert table.columns.tolist() == scores.COLUMNS
    assert table["variant"].tolist() == ["baseline", "norm_sched", "extra", *scores.CONTROLS]
    assert table["n"].tolist() == [90] * 5
    table = table[:3]
    shares = [3000 / 90, 11000 / 180, 6000 / 180]  # the mean of 60 and 50 of 90
    assert table["accuracy_end"].tolist() == pytest.approx(shares, rel=1e-15)
    assert table["accuracy_selected"].tolist() == table["accuracy_end"].tolist()
    assert (table["accuracy_end_low"] < table["accuracy_end"]).all()
    assert table["ties"].tolist() == [1, 2, 2]
    assert table["seeds"].fillna("").tolist() == ["", "0 1", "0 1"]
    assert table["paper_end"].fillna(0).tolist() == [27.5, 25.54, 0]
    assert table["p_end_vs_baseline"][1] < 1e-4
    assert table["p_end_vs_baseline"].fillna(0).tolist()[::2] == [0, 1]


def test_the_csv_has_every_number_exactly(paths, made) -> None:
    loaded = scores.load_predictions(paths, ALL)
    source = scores.table1(loaded, VARIANTS, pd.read_csv(PAPER), "repaired", "miniature", "extra")
    table = read(made)
    texts = source.select_dtypes(["object", "string"]).columns
    table = table.fillna(dict.fromkeys(texts, ""))
    source = source.fillna(dict.fromkeys(texts, ""))
    pd.testing.assert_frame_equal(table, source, check_exact=True, check_dtype=False)
    numbers = [column for column in table if pd.api.types.is_float_dtype(source[column])]
    assert len(numbers) == 37
    classes = scores.per_class(loaded, [variant["id"] for variant in VARIANTS])
    of_csv = sheets.read_csv(made / "table1_per_class.csv")
    pd.testing.assert_frame_equal(of_csv, classes, check_exact=True)


def test_every_form_shows_the_same_sheet(paths, made) -> None:
    loaded = scores.load_predictions(paths, ALL)
    source = scores.table1(loaded, VARIANTS, pd.read_csv(PAPER), "repaired", "miniature", "extra")
    assert sheets.read_sheets(str(made / "table1.json")) == [table1.sheet(source)]
    assert (made / "table1.md").read_text() == sheets.markdown(table1.sheet(source))


def test_a_variant_of_the_benchmark_counts_its_rows_alone(paths, tmp_path) -> None:
    rows = {index: number for index, number in ALL.items() if 20 <= index < 65}
    table = make(paths, tmp_path, rows=rows)
    assert table["benchmark"].tolist() == ["repaired"] * 5
    table = table[:3]
    assert table["n"].tolist() == [45] * 3
    assert table["n_per_class"].tolist() == ["5 5 5 5 5 5 5 5 5"] * 3
    shares = [1000 / 45, 7000 / 90, 2000 / 90]  # (40 + 30) / 2 of 45
    assert table["accuracy_end"].tolist() == pytest.approx(shares, rel=1e-15)
    assert table["ties"].tolist() == [0] * 3  # the tie is the last row
    note = "n = 45 images, the same for every row: the benchmark's variant “repaired”"
    assert note in (tmp_path / "table1.md").read_text()
    assert "Images per class: two 5, three 5" in (tmp_path / "table1.md").read_text()
    make(paths, tmp_path, rows=rows, repeated=7)
    text = (tmp_path / "table1.md").read_text()
    assert "n = 45 rows with 38 different images, the same for every row: the bench" in text
    assert "Rows that repeat the image of an earlier row: 7." in text


def test_rows_without_a_prediction_are_named(paths, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"baseline0.parquet.*\[90, 91\]"):
        make(paths, tmp_path, rows={**ALL, 90: 2, 91: 3})


def test_the_same_predictions_give_the_same_bytes(paths, tmp_path) -> None:
    def contents():
        make(paths, tmp_path)
        return [(tmp_path / name).read_bytes() for name in FILES.values()]

    assert contents() == contents()


@pytest.mark.parametrize("scale", pages.STAMPS)
def test_a_miniature_and_a_part_say_so_in_the_title_and_at_length(scale, paths, tmp_path) -> None:
    make(paths, tmp_path, scale=scale)
    text, latex = ((tmp_path / f"table1.{kind}").read_text() for kind in ("md", "tex"))
    (sheet,) = sheets.read_sheets(str(tmp_path / "table1.json"))
    assert sheet.stamp == pages.stamp(scale)
    for name, stamp in pages.STAMPS.items():
        for part in stamp or ():
            assert (part in text) == (name == scale)
        if stamp:
            assert (stamp.short in latex) == (name == scale)
            assert (stamp.short in sheet.title) == (name == scale)


def test_nothing_is_markup(made) -> None:
    text = (made / "table1.md").read_text()
    assert r"scheduler and \<i>norm\</i> \| x" in text
    assert text.count("▲") == 3 + 1  # three columns, one note


def test_differences_are_paired_and_p_values_corrected(rows) -> None:
    # Of 90 images 60 and 50 are right, and 30 both of the baseline and of the reference.
    gain = pytest.approx(100 * (110 / 180 - 30 / 90), rel=1e-14)
    assert rows.loc["norm_sched", "difference_baseline"] == gain
    assert rows.loc["norm_sched", "difference_reference"] == gain
    low, high = (rows.loc["norm_sched", f"difference_baseline_{b}"] for b in ("low", "high"))
    assert 18 < low < 27.78 < high < 38
    assert rows.loc["extra", "difference_baseline"] == 0
    assert rows.loc["extra", "difference_baseline_low"] == 0
    assert rows.loc["extra", "p_bootstrap_vs_baseline"] == 1
    assert np.isnan(rows.loc["extra", "p_end_vs_reference"])
    each = [2 * 0.5**right for right in (30, 20)]  # all images that differ do so one way
    median = sum(each) / 2
    p, corrected = (
        rows.loc["norm_sched", f"p_end_vs_{other}"] for other in ("baseline", "reference_holm")
    )
    assert p == pytest.approx(2 * median, rel=1e-12)
    assert corrected == pytest.approx(3 * 2 * median, rel=1e-12)  # of three tests
    assert set(rows["reference"]) == {"extra"}


def test_seeds_have_a_standard_deviation(rows, made) -> None:
    of_60_and_50 = pytest.approx(100 / 9 / 2**0.5, rel=1e-12)  # of 90
    assert rows.loc["norm_sched", "accuracy_end_sd"] == of_60_and_50
    assert np.isnan(rows.loc["baseline", "accuracy_end_sd"])
    assert "61.11 ± 7.86 [" in (made / "table1.md").read_text()


def test_without_a_reference_there_is_no_such_comparison(paths, tmp_path) -> None:
    table = make(paths, tmp_path, reference=None)
    assert table[["difference_reference", "p_end_vs_reference"]].isna().all(axis=None)


def test_the_papers_figures_lie_inside_or_outside_our_interval(rows, made) -> None:
    assert rows.loc["baseline", "paper_end_inside"] == "yes"  # 27.50 in [24.5, 43.6]
    assert rows.loc["baseline", "paper_end_difference"] == 100 * (30 / 90) - 27.5
    assert rows.loc["norm_sched", "paper_best_inside"] == "no"
    assert pd.isna(rows.loc["extra", "paper_end_inside"])
    text = (made / "table1.md").read_text()
    assert "27.50 inside" in text
    assert "25.54 outside" in text


def test_another_benchmark_has_no_figures_of_the_paper(paths) -> None:
    known = scores.load_predictions(paths, ALL)
    nothing = pd.DataFrame(columns=["variant", "end", "best"])
    shown = table1.sheet(scores.table1(known, VARIANTS, nothing, "folder", "paper"))
    assert not any("Paper" in header for header in shown.headers)
    assert "benchmark “folder”" in shown.notes[0]


def test_each_class_of_each_model(made) -> None:
    table = pd.read_csv(made / "table1_per_class.csv")
    assert len(table) == 9 * (3 + 3 + 3 + 1 + 1)  # the controls have the end of training alone
    row = table.query("variant == 'norm_sched' and checkpoint == 'end' and number == 2").iloc[0]
    assert row["answers"] == 20  # two seeds
    rights = sum(NUMBERS[:60] == 2) + sum(NUMBERS[:50] == 2)
    assert row["predicted_2"] == rights
    assert row["recall"] == pytest.approx(100 * rights / 20, rel=1e-15)


def test_a_class_without_images_has_no_figures_of_its_own(paths, tmp_path) -> None:
    make(paths, tmp_path, rows={i: number for i, number in ALL.items() if number != 5})
    table = pd.read_csv(tmp_path / "table1_per_class.csv")
    five = table[table["number"] == 5]
    assert (five["answers"] == 0).all()
    assert five[["recall", "f1"]].isna().all(axis=None)
    assert table.loc[table["number"] != 5, ["recall", "f1"]].notna().all(axis=None)


def test_seeds_are_those_of_the_variant_and_the_baseline_has_none() -> None:
    runs = [("baseline", 0), ("a", 10), ("a", 2), ("b", 1), ("a", 2)]
    known = pd.DataFrame(runs, columns=["variant", "seed"])
    parts = [pd.DataFrame({"variant": ["a", "baseline"]}), pd.DataFrame({"variant": ["b"]})]
    assert scores.with_seeds(parts, known)["seeds"].tolist() == ["2 10", "", "1"]
    assert scores.with_seeds(parts, known[:1])["seeds"].tolist() == ["", "", ""]


def test_the_controls_come_out_at_chance(tmp_path) -> None:
    """Models that see count half of the images right; what remains without sight is one in nine."""
    rng = np.random.default_rng(0)
    numbers = np.tile(np.arange(2, 11), 60)
    paths = []
    for name in ("baseline", "norm_sched", "extra"):
        guess = np.where(rng.random(len(numbers)) < 0.5, numbers, rng.integers(2, 11, len(numbers)))
        alone = rng.integers(2, 11, len(numbers))
        frame = counting.predictions(np.eye(9)[guess - 2], np.arange(len(numbers)), numbers, alone)
        paths.append(str(tmp_path / f"{name}.parquet"))
        states = dict.fromkeys(scores.CHECKPOINTS, frame)
        counting.write_predictions(states, name, 0, paths[-1])
    table = make(paths, tmp_path, rows=dict(enumerate(numbers.tolist()))).set_index("variant")
    for control in scores.CONTROLS:
        row = table.loc[control]
        assert abs(row["accuracy_end"] - 100 / 9) < 2.5
        assert row["accuracy_end_low"] < 100 / 9 < row["accuracy_end_high"]
        assert row[["accuracy_selected", "difference_baseline", "seeds"]].isna().all()
    assert (tmp_path / "table1.md").read_text().count("is at chance") == 2


def test_a_control_that_is_not_at_chance_is_noted(tmp_path) -> None:
    """Captions that give the number away: the model needs no image."""
    paths = []
    for name in ("baseline", "norm_sched", "extra"):
        frame = counting.predictions(
            np.eye(9)[NUMBERS - 2], np.arange(len(NUMBERS)), NUMBERS, NUMBERS
        )
        paths.append(str(tmp_path / f"{name}.parquet"))
        states = dict.fromkeys(scores.CHECKPOINTS, frame)
        counting.write_predictions(states, name, 0, paths[-1])
    table = make(paths, tmp_path).set_index("variant")
    assert table.loc["control_text_only", "accuracy_end"] == 100
    assert "captions without images” is NOT at chance" in (tmp_path / "table1.md").read_text()


def test_the_most_common_number_stands_beside_chance(tmp_path) -> None:
    """Where most images show two, a model that always says two is above one in nine, and blind."""
    numbers = np.repeat([2, 3, 10], [60, 20, 10])
    frame = counting.predictions(
        np.eye(9)[np.zeros(90, int)], np.arange(90), numbers, np.full(90, 2)
    )
    paths = []
    for name in ("baseline", "norm_sched", "extra"):
        paths.append(str(tmp_path / f"{name}.parquet"))
        states = dict.fromkeys(scores.CHECKPOINTS, frame)
        counting.write_predictions(states, name, 0, paths[-1])
    table = make(paths, tmp_path, rows=dict(enumerate(numbers.tolist()))).set_index("variant")
    assert set(table["accuracy_end"]) == {100 * (60 / 90)}
    note = "always answering the most common number is right for 66.67 %"
    text = (tmp_path / "table1.md").read_text()
    assert note in text
    within = "NOT at chance, but within what unequal class sizes allow without seeing the image"
    assert text.count(within) == 2  # both controls


def test_no_variant_can_have_the_id_of_another_row() -> None:
    schema = yaml.safe_load(Path(resource("workflow/schemas/config.schema.yaml")).read_text())
    ids = re.compile(schema["properties"]["variants"]["propertyNames"]["pattern"])
    assert ids.search("modal_sched")
    assert ids.search("baseline_again")
    for row in (scores.BASELINE["id"], *scores.CONTROLS):
        assert not ids.search(row)


def test_runs_on_different_images_are_refused(paths, tmp_path) -> None:
    frame = pd.read_parquet(paths[1]).query("index > 3")
    frame.to_parquet(paths[1])
    with pytest.raises(ValueError, match="norm_sched0.parquet.*other images"):
        make(paths, tmp_path)


def test_a_variant_without_predictions_is_named(paths, tmp_path) -> None:
    with pytest.raises(ValueError, match="extra"):
        make(paths[:3], tmp_path)
