"""Table 1 from predictions made up so that every figure is known."""

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from countclip import evaluation, pages, tables
from countclip.files import resource

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
    alone = np.full(len(NUMBERS), 2)
    frame = evaluation.predictions(similarity, np.arange(len(NUMBERS)), NUMBERS, alone)
    path = str(folder / f"{variant}{seed}.parquet")
    evaluation.write_predictions(dict.fromkeys(checkpoints, frame), variant, seed, path)
    return path


@pytest.fixture
def paths(tmp_path) -> list[str]:
    return [
        predictions(30, "baseline", 0, tmp_path),
        predictions(60, "norm_sched", 0, tmp_path, tables.CHECKPOINTS),
        predictions(50, "norm_sched", 1, tmp_path, tables.CHECKPOINTS),
        predictions(30, "extra", 0, tmp_path, tables.CHECKPOINTS),
        predictions(30, "extra", 1, tmp_path, tables.CHECKPOINTS),
    ]


ALL = dict(enumerate(NUMBERS.tolist()))


def make(paths, folder, scale="miniature", rows=ALL) -> pd.DataFrame:
    tables.make_table1(
        paths,
        resource("resources/paper_table1.csv"),
        resource("resources/table1.html.jinja"),
        str(folder / "table1.csv"),
        str(folder / "table1.md"),
        str(folder / "table1.html"),
        rows=rows,
        benchmark="repaired",
        variants=VARIANTS,
        scale=scale,
    )
    return pd.read_csv(folder / "table1.csv", keep_default_na=False, dtype=str)


def test_table1(paths, tmp_path) -> None:
    table = make(paths, tmp_path)
    assert table.columns.tolist() == tables.COLUMNS
    assert table["variant"].tolist() == ["baseline", "norm_sched", "extra"]
    assert table["n"].tolist() == ["90"] * 3
    assert table["accuracy_end"].tolist() == ["33.33", "61.11", "33.33"]  # mean of 60 and 50 of 90
    assert table["accuracy_selected"].tolist() == table["accuracy_end"].tolist()
    assert (table["accuracy_end_low"].astype(float) < table["accuracy_end"].astype(float)).all()
    assert table["ties"].tolist() == ["1", "2", "2"]
    assert table["seeds"].tolist() == ["", "0 1", "0 1"]
    assert table["paper_end"].tolist() == ["27.50", "25.54", ""]
    assert float(table["p_end_vs_baseline"][1]) < 1e-4
    assert table["p_end_vs_baseline"].tolist()[::2] == ["", "1"]


def test_a_variant_of_the_benchmark_counts_its_rows_alone(paths, tmp_path) -> None:
    rows = {index: number for index, number in ALL.items() if 20 <= index < 65}
    table = make(paths, tmp_path, rows=rows)
    assert table["benchmark"].tolist() == ["repaired"] * 3
    assert table["n"].tolist() == ["45"] * 3
    assert table["n_per_class"].tolist() == ["5 5 5 5 5 5 5 5 5"] * 3
    assert table["accuracy_end"].tolist() == ["22.22", "77.78", "22.22"]  # (40 + 30) / 2 of 45
    assert table["ties"].tolist() == ["0"] * 3  # the tie is the last row
    note = "n = 45 images, the same for every row: the benchmark's variant `repaired`"
    assert note in (tmp_path / "table1.md").read_text()
    assert "two 5, three 5" in (tmp_path / "table1.html").read_text()


def test_rows_without_a_prediction_are_named(paths, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"baseline0.parquet.*\[90, 91\]"):
        make(paths, tmp_path, rows={**ALL, 90: 2, 91: 3})


def test_the_same_predictions_give_the_same_bytes(paths, tmp_path) -> None:
    def contents():
        make(paths, tmp_path)
        return [(tmp_path / f"table1.{kind}").read_bytes() for kind in ("csv", "md", "html")]

    assert contents() == contents()


@pytest.mark.parametrize("scale", pages.STAMPS)
def test_a_miniature_and_a_part_say_so_in_the_title_and_at_length(scale, paths, tmp_path) -> None:
    make(paths, tmp_path, scale=scale)
    page, text = ((tmp_path / f"table1.{kind}").read_text() for kind in ("html", "md"))
    for name, stamp in pages.STAMPS.items():
        for part in stamp or ():
            assert (part in text) == (name == scale)
            assert page.count(str(escape(part))) == (name == scale) * (1 + (part == stamp.short))


def test_nothing_is_markup(paths, tmp_path) -> None:
    make(paths, tmp_path)
    page, text = ((tmp_path / f"table1.{kind}").read_text() for kind in ("html", "md"))
    assert "<i>norm" not in page
    assert "&lt;i&gt;norm" in page
    assert "▲" in page
    assert text.count("▲") == 3 + 1  # three columns, one note
    assert "://" not in page


def test_runs_on_different_images_are_refused(paths, tmp_path) -> None:
    frame = pd.read_parquet(paths[1]).query("index > 3")
    frame.to_parquet(paths[1])
    with pytest.raises(ValueError, match="norm_sched0.parquet.*other images"):
        make(paths, tmp_path)


def test_a_variant_without_predictions_is_named(paths, tmp_path) -> None:
    with pytest.raises(ValueError, match="extra"):
        make(paths[:3], tmp_path)
