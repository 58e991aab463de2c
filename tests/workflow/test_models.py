"""Several base models, and models that are only measured, as a run plans them."""

import yaml

from .conftest import DEFAULT, HOME, KEPT, Workflow
from .dry_runs import jobs

MODEL = DEFAULT["model"]
ANOTHER = {"models": {"one": MODEL, "two": MODEL}, "variants": {KEPT[0]: {"model": "two"}}}
LISTS = {"variants": [KEPT[1]]}


def test_a_second_model_adds_its_baseline_and_packs_its_images(tmp_path):
    """What the first one has keeps its place."""
    two = ANOTHER | {"retrieval": LISTS, "relevancy": LISTS}
    plain, planned = Workflow(tmp_path).plans({"one": {}, "two": two}).values()
    assert isinstance(planned, dict), planned[-2000:]
    more = {rule: n - plain.get(rule, 0) for rule, n in planned.items()}
    assert {rule: n for rule, n in more.items() if n} == {
        "pack_images_of_model": 1,
        "pack_benchmark_of_model": 2,  # CountBench and the other benchmark
        "pack_retention_of_model": len(DEFAULT["retention"]["tasks"]),
        "evaluate": 2,
        "measure_retention": len(DEFAULT["retention"]["tasks"]),
    }


def test_a_variant_of_another_model_is_refused_where_one_baseline_is_compared(tmp_path):
    [said] = Workflow(tmp_path).plans({"": ANOTHER}).values()
    assert f"retrieval.variants: {KEPT[0]}: trained from another model" in said


def test_measuring_a_list_trains_nothing(tmp_path):
    models = {"tiny": MODEL, "same": MODEL | {"label": "the same again"}}
    target = "results/zero_shot/table.csv"
    planned = Workflow(tmp_path).plan(target, zero_shot={"models": models})
    assert planned["measure_zero_shot"] == 2 * len(models)
    assert not {"train_variant", "pack_images", "fetch_images", "download_part"} & set(planned)


def test_the_list_of_open_clip_is_planned_one_model_at_a_time(tmp_path):
    """Over the paper's config: each download waits for the answers of the model before it."""
    files = [HOME / "config" / name for name in ("paper.yaml", "zero_shot.yaml")]
    listed = yaml.safe_load(files[1].read_text(encoding="utf-8"))["zero_shot"]["models"]
    target = "results/zero_shot/table.csv"
    run = Workflow(tmp_path)
    planned = jobs(run(target, "-n", "--quiet", "rules", only=files, cores=1))
    assert planned["fetch_zero_shot_weights"] == len(listed)
    assert planned["measure_zero_shot"] == len(listed)
    assert "train_variant" not in planned
    output = run(target, "-n", only=files, cores=1)
    names = list(listed)
    for before, name in zip(names, names[1:], strict=False):
        block = output.split(f"download the weights of {name}\n")[1].split("\n\n")[0]
        assert f"results/zero_shot/countbench/{before}.parquet" in block
