"""Ablations out of a Table 1 of known figures."""

from pathlib import Path

import pandas as pd
import pytest

from countclip.report import ablations, scores, sheets

SETTINGS = {
    "plain": {"loss": "count", "epochs": 4, "count_logit_scale": 20.0},
    "other": {"loss": "count_plus", "epochs": 4, "count_logit_scale": None},
    "same": {"loss": "count", "epochs": 4, "count_logit_scale": 20.0},
}


@pytest.fixture
def table1(tmp_path) -> str:
    names = ["baseline", "plain", "other", "same", *scores.CONTROLS]
    table = pd.DataFrame({"variant": names, "label": [f"<b>{name}" for name in names]})
    table = table.reindex(columns=scores.COLUMNS).astype(object)
    table[["accuracy_end", "accuracy_end_low", "accuracy_end_high"]] = [30.0, 25.0, 35.0]
    table.loc[[2, 3], "difference_reference"] = [5.5, -1.0]
    table.loc[[2, 3], "difference_reference_low"] = [1.5, -3.0]
    table.loc[[2, 3], "difference_reference_high"] = [9.5, 1.0]
    table.loc[[2, 3], "p_end_vs_reference_holm"] = [0.0496, 1.0]
    table = table.assign(seeds="1 2", n=506, benchmark="repaired", scale="miniature")
    table.to_csv(tmp_path / "table1.csv", index=False)
    return str(tmp_path / "table1.csv")


def make(table1, folder, reference="plain") -> dict[str, str]:
    kinds = {"csv_path": "csv", "json_path": "json", "markdown_path": "md"}
    paths = {name: str(folder / f"ablations.{kind}") for name, kind in kinds.items()}
    ablations.make_ablations(table1, **paths, settings=SETTINGS, reference=reference)
    return paths


def test_each_variant_says_what_it_changes(table1, tmp_path) -> None:
    paths = make(table1, tmp_path)
    table = pd.read_csv(paths["csv_path"], keep_default_na=False, dtype=str)
    assert table["variant"].tolist() == ["plain", "other", "same"]
    assert table["changes"].tolist() == ["0", "2", "0"]
    assert table["changed"][1] == "loss: count_plus; count_logit_scale: none"
    assert table["difference_reference"].tolist() == ["", "5.5", "-1.0"]
    assert table["p_end_vs_reference_holm"].tolist() == ["", "0.0496", "1.0"]
    assert table["seeds"].tolist() == ["1 2"] * 3
    text = Path(paths["markdown_path"]).read_text(encoding="utf-8")
    assert "Miniature" in text
    assert "+5.50 [1.50, 9.50] | 0.0496 |" in text
    assert "the reference has count_logit_scale: 20.0; loss: count." in text
    (sheet,) = sheets.read_sheets(paths["json_path"])
    assert sheets.markdown(sheet) == text


def test_a_reference_that_nobody_trained_is_named(table1, tmp_path) -> None:
    with pytest.raises(ValueError, match="gone"):
        make(table1, tmp_path, reference="gone")


def test_the_numbers_are_those_of_table_1_exactly(table1, tmp_path) -> None:
    source = pd.read_csv(table1, float_precision="round_trip").set_index("variant")
    source.loc["other", "difference_reference"] = 0.1 + 0.2
    source.loc["other", "accuracy_end_low"] = 100 / 3
    source.to_csv(table1)
    made = sheets.read_csv(make(table1, tmp_path)["csv_path"]).set_index("variant")
    numbers = ablations.FORMATS.keys()
    assert made[numbers].equals(source.loc[made.index, numbers])
    assert made["difference_reference"]["other"] == 0.1 + 0.2
