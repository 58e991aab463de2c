"""The same bytes, however many jobs run at once."""

from .conftest import KEPT, Workflow


def test_the_same_table_byte_for_byte_on_one_core(finished, tmp_path):
    other = Workflow(tmp_path / "one core")
    names = [f"results/{name}.csv" for name in ("table1", "retention", "wise_ft")]
    names += ["results/table1.json", "results/counting_set/main/counting.parquet"]
    names += [f"results/training/{name}/seed1/end.safetensors" for name in KEPT]
    names += ["results/figures/confusion_figure4.svg"]
    other(*names, cores=1)
    for name in names:
        assert (other.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name
