"""The table of an ordinal set: every method on the same folds."""

import json
from pathlib import Path

from countclip.experiments.ordinal import table
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.methods import TWO_BY_TWO
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
files = [
    Path(listed).parents[2] / file
    for listed in inputs.predictions
    for file in json.loads(Path(listed).read_text(encoding="utf-8"))
]
table.make_table(
    [str(file) for file in files if "predictions" in file.parts[-4:]],
    best_on_test=[str(file) for file in files if "best_on_test" in file.parts[-4:]],
    folds_json=inputs.folds,
    published_csv=inputs.published,
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    per_bin_csv=outputs.per_bin,
    labels=dict(spec["labels"]),
    two_by_two=TWO_BY_TWO,
    bins=Bins.of_task(spec["task"]),
    task=spec["published"] or "",
    subject=f"{spec['task']['shows']}, set {snakemake.wildcards.set}",  # noqa: F821
    deviations=spec["deviations"],
    scale=spec["scale"],
)
