"""Images of one's own in a workflow: what is asked for, and what is not."""

import pytest
import yaml

from .conftest import HOME, KEPT, Workflow, dry_runs, merged

MINE = {"main": {"source": "folder", "path": "pairs.csv"}}
ALONE = {
    "countbench": {"list": None},
    "benchmarks": {"own": None, "mine": {"source": "folder", "path": "test.csv"}},
    "counting_sets": MINE,
}
TABLE = "results/benchmarks/mine/table.csv"
SET = "results/counting_set/main/counting.parquet"
ON_COUNTBENCH = {
    *("ask_countbench", "audit_countbench", "repair_countbench", "download_countbench"),
    *("offer_repairs", "render_audit", "make_table1", "make_ablations", "plot_confusion"),
    *("retrieve", "measure_relevancy", "sweep_wise_ft", "make_world"),
}
OF_LAION = {"make_manifest", "download_part", "filter_captions", "fetch_images", "detect_objects"}
CASES = {  # target, overlay
    "table": (TABLE, ALONE),
    "all": ("all", merged(ALONE, {"retention": {"tasks": {"things": None, "pairs": None}}})),
    "internet": (TABLE, merged(ALONE, {"network": "internet"})),
    "set": (SET, {"counting_sets": MINE, "counting_set": {"decontaminate": []}}),
    "apart": (SET, {"counting_sets": MINE}),
    "laion": (SET, {"counting_set": {"decontaminate": []}}),
    "verified": (SET, merged(ALONE, {"counting_sets": {"main": {"verify": "detector"}}})),
    "only": ("results/table1.csv", {"only": [KEPT[1]]}),
    "nobody": ("results/table1.csv", {"only": ["nobody"]}),
    "no benchmark": (TABLE, merged(ALONE, {"benchmarks": {"mine": None}})),
    "table1": ("results/table1.csv", ALONE),
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """What a dry run with each overlay says: jobs by rule, or the error."""
    workflow = Workflow(tmp_path_factory.mktemp("own"))
    (workflow.folder / "pairs.csv").write_text("image,caption\na.png,two dogs\n")
    (workflow.folder / "test.csv").write_text("image,noun,number\nb.png,dogs,3\n")
    commands = [
        [target, *workflow.where(overlay, name=f"overlay{n}")]
        for n, (target, overlay) in enumerate(CASES.values())
    ]
    return dict(zip(CASES, dry_runs(commands, targets=()), strict=True))


def test_a_table_of_ones_own_images_needs_no_countbench_and_no_laion(planned):
    chain = {
        *("read_counted_images", "assemble_counting_set", "pack_images", "train_variant"),
        *("read_benchmark", "evaluate", "make_benchmark_table"),
    }
    for case in ("table", "internet"):
        assert chain <= planned[case].keys()
        assert planned[case].keys().isdisjoint(ON_COUNTBENCH | OF_LAION)
    assert planned["table"]["read_benchmark"] == 1


def test_a_whole_run_without_countbench_is_planned(planned):
    assert {"render_report", "make_object_statistics", "plot_lambdas"} <= planned["all"].keys()
    assert planned["all"].keys().isdisjoint(ON_COUNTBENCH | OF_LAION)


def test_countbench_is_asked_for_where_pairs_are_kept_apart_from_it_alone(planned):
    assert planned["set"] == {"read_counted_images": 1, "assemble_counting_set": 1}
    assert {"ask_countbench", "repair_countbench"} <= planned["apart"].keys()
    assert planned["laion"].keys().isdisjoint(ON_COUNTBENCH - {"make_world"})
    assert planned["laion"].keys() >= OF_LAION - {"make_manifest"}


def test_a_detector_verifies_where_the_set_says_so(planned):
    assert planned["verified"]["detect_in_counted_images"] == 1
    assert "detect_objects" not in planned["verified"]


def test_only_one_variant_is_trained(planned):
    assert (planned["only"]["train_variant"], planned["only"]["evaluate"]) == (1, 2)


def test_what_is_not_there_is_said(planned):
    assert "only: nobody is not there; variants has" in planned["nobody"]
    assert "`benchmarks` has none: name a benchmark" in planned["no benchmark"]
    assert "countbench.list is null, so this run has no CountBench" in planned["table1"]


def test_the_guide_fits_on_fifteen_lines():
    page = (HOME / "docs/guides/own-images.md").read_text(encoding="utf-8")
    overlay = page.split("```yaml\n")[1].split("```")[0]
    assert len(overlay.splitlines()) <= 15
    assert yaml.safe_load(overlay)["countbench"] == {"list": None}
