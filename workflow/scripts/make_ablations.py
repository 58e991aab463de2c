"""Ablations: every variant beside the reference, with its changed settings."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import ablations
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
benchmark = spec.pop("benchmark")
ablations.make_ablations(
    inputs.table1,
    inputs.predictions,
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    histories=inputs.histories,
    rows=rows_of(benchmark, inputs.benchmark, inputs.get("intersection")),
    **spec,
)
