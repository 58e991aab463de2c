"""A whole run, small, and what happens when things change afterwards."""

import csv
import json
import re
import shutil
from pathlib import Path

import open_clip
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from countclip.report import scores

from .conftest import DEFAULT, HOME, KEPT, ORDINAL, READERS
from .test_reruns import rules

TABLE = "results/table1.csv"


def test_the_table_has_a_row_a_variant_and_the_baseline(finished):
    with open(finished.folder / TABLE, encoding="utf-8", newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"baseline", *KEPT, *scores.CONTROLS}
    benchmark = json.loads((finished.folder / "results/countbench/summary.json").read_text())
    for row in rows.values():
        assert row["scale"] == "miniature"
        assert row["benchmark"] == "repaired"
        assert int(row["n"]) == benchmark["repaired"]["n"] >= 450
        per_class = benchmark["repaired"]["n_per_class"]
        assert list(map(int, row["n_per_class"].split())) == [
            per_class[str(n)] for n in range(2, 11)
        ]
    assert float(rows["baseline"]["paper_end"]) == 27.5
    assert 20 < float(rows["baseline"]["accuracy_end"]) < 40
    for control in scores.CONTROLS:
        assert float(rows[control]["accuracy_end_low"]) < 100 / 9
        assert float(rows[control]["accuracy_end_high"]) > 100 / 9


def test_a_further_benchmark_has_a_table_of_the_same_models(finished):
    results = finished.folder / "results"
    with open(results / "benchmarks/own/table.csv", encoding="utf-8", newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"baseline", *KEPT, *scores.CONTROLS}
    summary = json.loads((results / "benchmarks/own/summary.json").read_text())
    for row in rows.values():
        assert (row["benchmark"], row["n"], row["paper_end"]) == ("own", "90", "")
        assert int(row["n"]) == summary["included"] == summary["rows"]
    assert 15 < float(rows["baseline"]["accuracy_end"]) < 55
    assert "Miniature" in (results / "benchmarks/own/table.md").read_text()


def test_retention_has_every_run_and_the_sweep_ends_where_the_table_does(finished):
    results = finished.folder / "results"
    table = pd.read_csv(results / "retention.csv")
    asked = {(task, variant, checkpoint) for task in ("things", "pairs")
             for variant in KEPT for checkpoint in ("end", "selected")}  # fmt: skip
    assert set(zip(table["task"], table["variant"], table["checkpoint"], strict=True)) == asked
    first = table[table["measure"].str.endswith("1")]
    assert (first["before"] > 5 * first["chance"]).all()
    sweep = pd.read_csv(results / "wise_ft.csv").set_index(["variant", "alpha"])
    accuracy = pd.read_csv(results / "table1.csv").set_index("variant")["accuracy_selected"]
    for variant in KEPT:
        ends = sweep.loc[variant].loc[[0, 1], "benchmark_accuracy"].tolist()
        assert ends == pytest.approx([accuracy["baseline"], accuracy[variant]], rel=1e-12)
        top = table.query("measure == 'top-1' and variant == @variant and checkpoint == 'selected'")
        ends = sweep.loc[variant].loc[[0, 1], "retention_things"].tolist()
        assert ends == pytest.approx([top["before"].item(), top["after"].item()], rel=1e-12)


def test_the_funnel_adds_up_from_the_first_row_to_the_last_pair(finished):
    results = finished.folder / "results"
    summary = json.loads((results / "counting_set/main/summary.json").read_text())
    assert summary["rows"] == 500
    rows = summary["rows"]
    for step in summary["counting"]:
        assert step["rows"] == rows
        assert step["kept"] + sum(step["lost"].values()) == rows
        rows = step["kept"]
    assert rows == pq.read_metadata(results / "counting_set/main/counting.parquet").num_rows
    assert rows == summary["train"] + summary["heldout"]


def test_the_report_says_what_ran(finished):
    page = (finished.folder / "results/report.html").read_text(encoding="utf-8")
    assert page.count("Miniature: not CLIP&#39;s numbers") >= 2
    assert f" correct with the best of {len(KEPT)} variants, " in page
    sections = set(re.findall('<section id="(.*?)">', page))
    made = {
        "table1",
        "paper",
        "ablations",
        "retention",
        "ordinal",
        "reading",
        "funnel",
        "audit",
        "config",
        "versions",
    }
    assert made | {"seeds", "costs", "files"} <= sections
    costs = page.partition('<section id="costs">')[2]
    # A column with long names of rules has the class of texts.
    assert re.search(r'<th scope=row( class="text")?>train_variant</th>', costs)
    for address in re.findall('href="(.*?)"', page):
        if not address.startswith("#"):
            assert (finished.folder / "results" / address).is_file(), address


def test_the_reading_table_has_its_readers_between_controls_and_ceilings(finished):
    results = finished.folder / "results/reading"
    table = pd.read_csv(results / "table.csv").set_index("row")
    assert list(table.index[table["kind"] == "reader"]) == [*READERS, "ocr"]
    questions = pd.read_parquet(results / "validation/questions.parquet")
    assert (table[["n", "images"]] == [len(questions), 12]).all(axis=None)
    chance = table.loc["uniform", "soft"]
    has_candidates = table["kind"].isin(["control", "reader"])
    assert table.loc[has_candidates, "chance_soft"].unique().tolist() == [chance]
    assert table.loc[~has_candidates, "chance_soft"].isna().all()
    assert table.loc["ocr", "soft"] > 10 * chance
    assert set(pd.read_csv(results / "crops.csv")["view"]) == {"centre", "grid_2"}
    words = pd.read_csv(results / "words.csv")
    assert words.loc[words["by"] == "faces", "n"].eq(4).all()


@pytest.fixture(scope="module")
def ordinal(finished) -> Path:
    return finished.folder / "results/ordinal"


@pytest.fixture(scope="module")
def folds(ordinal) -> list[pd.DataFrame]:
    return [pd.read_parquet(ordinal / f"people/folds/{n}.parquet") for n in (1, 2)]


def test_the_ordinal_table_has_a_row_a_method_and_decoding(ordinal, folds):
    table = pd.read_csv(ordinal / "table.csv")
    rows = [(method, decoding) for method in ORDINAL for decoding in ("argmax", "expectation")]
    assert list(zip(table["method"], table["decoding"], strict=True)) == rows
    assert set(table["set"]) == {"people"}
    assert set(table["scale"]) == {"miniature"}
    assert (table[["folds", "n", "images", "groups"]] == [2, 640, 640, 160]).all(axis=None)
    tested = pd.concat([fold[fold["part"] == "test"] for fold in folds])
    assert sorted(tested["index"]) == list(range(640))
    trained = table["method"] == "numclip_exp"
    assert (table["mae_best_on_test"].notna() == trained).all()
    assert (table["mae_best_on_test"] <= table["mae"])[
        trained & (table["decoding"] != "argmax")
    ].all()


def test_the_constants_row_is_that_of_the_folds_medians(ordinal, folds):
    table = pd.read_csv(ordinal / "people/table.csv").set_index(["method", "decoding"])
    errors = []
    for fold in folds:
        ages = sorted(fold["label"][fold["part"] == "train"])
        half = len(ages) // 2
        median = ages[half] if len(ages) % 2 else (ages[half - 1] + ages[half]) / 2
        errors.append((fold["label"][fold["part"] == "test"] - median).abs().mean())
    assert table.loc[("constant", "expectation"), "mae"] == pytest.approx(sum(errors) / 2)


def test_the_zero_shot_row_is_what_open_clip_says_by_itself(finished, ordinal, folds):
    """From the model's files and the PNGs, without a line of this package."""
    folder, model = HOME / "resources/miniature/clip", "miniature-vit"
    open_clip.add_model_config(folder / f"{model}.json")
    clip, _, preprocess = open_clip.create_model_and_transforms(
        model, str(folder / f"{model}.safetensors")
    )
    bins = {"child": 6.5, "teenager": 15.5, "young adult": 26.5, "middle adult": 49.5,
            "older adult": 72.5}  # fmt: skip
    tokenize = open_clip.get_tokenizer(model, bpe_path=str(folder / f"{model}.merges.txt.gz"))
    errors = []
    with torch.inference_mode():
        clip.eval()
        texts = tokenize([f"age estimation: the person is a {word}." for word in bins])
        texts = clip.encode_text(texts, normalize=True)
        for fold in folds:
            test = fold[fold["part"] == "test"]
            made = finished.folder / "results/miniature/ordinal"
            images = [preprocess(Image.open(made / path)) for path in test["path"]]
            images = clip.encode_image(torch.stack(images), normalize=True)
            shares = (clip.logit_scale.exp() * images @ texts.T).softmax(1).double().numpy()
            expected = shares @ list(bins.values())
            errors.append(abs(expected - test["label"]).mean())
    table = pd.read_csv(ordinal / "people/table.csv").set_index(["method", "decoding"])
    row = table.loc[("zero_shot_concepts", "expectation"), "mae"]
    assert row == pytest.approx(sum(errors) / 2, abs=1e-3)


def test_a_method_of_ones_own_trains_alone_and_a_note_remakes_the_table(planned):
    remade = dict.fromkeys(rules(["ordinal_table"]), 1)
    assert planned["ordinal method"] == remade | {"train_ordinal": 2, "predict_ordinal": 1}
    assert planned["ordinal notes"] == remade


def test_every_variant_was_trained_and_none_copied(finished):
    weights = [
        (finished.folder / f"results/training/{name}/seed1/end.safetensors").read_bytes()
        for name in KEPT
    ]
    assert weights[0] != weights[1]


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished("all")


@pytest.fixture(scope="module")
def planned(finished):
    """The jobs of each rule that would run again after a change."""
    repairs = HOME / DEFAULT["countbench"]["repairs"]
    copy = finished.folder / "mine/repairs.csv"
    shutil.copytree(repairs.parent / "images", copy.parent / "images")
    copy.write_text(repairs.read_text() + "5,exclude,,,,,,blurred\n")
    lock = finished.folder / "mine.lock.csv"
    lock.write_text("index,url,sha256,phash,width,height,bytes,date\n")
    indices = finished.folder / "indices.txt"
    indices.write_text("".join(f"{index}\n" for index in range(300)))
    for folder in ("workflow", "resources", "config"):
        for file in (finished.home / folder).rglob("*.*"):
            file.touch()
    overlays = {
        "touched": {},
        "repairs": {"countbench": {"repairs": str(copy)}},
        "lock": {"countbench": {"lock": str(lock)}},
        "rows": {"countbench": {"variant": "intersection", "intersection": str(indices)}},
        "variant": {
            "variants": {"mine": {"label": "mine", "lambda_scheme": "log", "lambda_0": 0.5}}
        },
        "set": {
            "counting_sets": {"strict": {"confidence": 0.5}, "nobodys": {}},
            "variants": {"mine": {"label": "mine", "counting_set": "strict"}},
        },
        "ordinal method": {
            "ordinal": {
                "methods": {"mine": {"method": "numclip_exp", "label": "mine", "words": "learnt"}}
            }
        },
        "ordinal notes": {"ordinal": {"sets": {"people": {"deviations": ["Drawn, not seen."]}}}},
    }
    return finished.plans(overlays, "change")


def test_touched_files_rerun_nothing(planned):
    assert planned["touched"] == {}


def test_a_line_of_repairs_reruns_what_follows_from_it_and_asks_nobody(planned):
    assert set(planned["repairs"]) == rules(["repaired"])


def test_a_lock_file_judges_anew_and_asks_nobody(planned):
    assert set(planned["lock"]) == rules(["audited"])


def test_a_list_of_rows_redraws_tables_and_figures_alone(planned):
    redrawn = rules(["tables", "mixed", "looked"]) | {"plot_confusion", "render_audit"}
    assert set(planned["rows"]) == redrawn


def test_a_new_variant_trains_that_one_alone(planned):
    benchmarks = {"countbench", *DEFAULT["benchmarks"]}
    jobs = planned["variant"]
    assert (jobs["train_variant"], jobs["evaluate"]) == (1, len(benchmarks))


def test_a_set_that_a_variant_names_is_made_and_no_other_is_made_again(planned):
    for rule in ("assemble_counting_set", "pack_images", "train_variant", "plot_lambdas"):
        assert planned["set"][rule] == 1, rule
    assert "detect_objects" not in planned["set"]


def test_the_plan_names_what_changed_and_runs_nothing(finished):
    before = sorted(finished.folder.rglob("results/**/*"))
    text = finished("plan", training={"learning_rate": 1.0e-5})
    assert "training.learning_rate: 0.0003 -> 1e-05\n    train_variant (2)" in text
    assert "jobs here" in text  # what training took before
    assert "fetch_images" not in text.split("## Why")[1]
    assert "Nothing to be done" in finished("plan")
    assert sorted(finished.folder.rglob("results/**/*")) == before
