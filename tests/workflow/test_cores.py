"""The same bytes, however many jobs run at once; and of results that were deleted."""

import shutil

from .conftest import KEPT, Workflow


def test_on_one_core_all_up_to_a_training_is_the_same(finished, tmp_path):
    other = Workflow(tmp_path / "one core")
    training = f"results/training/{KEPT[1]}/seed1"
    names = [f"{training}/{name}" for name in ("end.safetensors", "history.csv", "lambdas.csv")]
    names += [f"results/counting_set/main/{name}.parquet" for name in ("counting", "non_counting")]
    names += ["results/training/images/main.npy", "results/countbench/benchmark.parquet"]
    other(*names, cores=1)
    for name in names:
        assert (other.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_on_one_core_deleted_results_come_back_the_same(finished, tmp_path):
    """Of each kind that follows a training, one; and all tables and figures."""
    again = finished.copy(tmp_path / "checkout")
    results, before = again.folder / "results", finished.folder / "results"
    for name in ("evaluation/countbench", "retention/things", "wise_ft"):
        shutil.rmtree(results / name / KEPT[0])
    for name in ("table1.csv", "retention.csv", "wise_ft.csv", "figures/confusion_figure4.svg"):
        (results / name).unlink()
    again("all", cores=1)
    names = [path.relative_to(before) for path in before.rglob("*") if path.is_file()]
    compared = [name for name in names if name.parts[0] not in ("costs", "report.html")]
    assert len(compared) > 100
    for name in compared:
        assert (results / name).read_bytes() == (before / name).read_bytes(), name
    pages = [(folder / "report.html").read_text(encoding="utf-8") for folder in (results, before)]
    assert len({page.partition('<section id="costs">')[0] for page in pages}) == 1
