"""The table of an ordinal set: every method on the same folds."""

from countclip.experiments.ordinal import table
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.methods import TWO_BY_TWO
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
folds = range(1, spec["folds"] + 1)
table.make_table(
    [f"{folder}/{fold}.parquet" for folder in inputs.predictions for fold in folds],
    best_on_test=[f"{folder}/{fold}.parquet" for folder in inputs.best_on_test for fold in folds],
    published_csv=inputs.published,
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    per_bin_csv=outputs.per_bin,
    labels=dict(spec["labels"]),
    two_by_two=TWO_BY_TWO,
    bins=Bins.of_task(spec["task"]),
    task=spec["published"] or "",
    title=f"Ordinal regression of {spec['task']['shows']}, set {snakemake.wildcards.set}",  # noqa: F821
    deviations=spec["deviations"],
    scale=spec["scale"],
)
