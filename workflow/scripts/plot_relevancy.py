"""Relevancy of the number word, before and after: table and figure."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import relevancy
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
relevancy.draw(
    inputs.measured,
    csv_path=outputs.csv,
    json_path=outputs.json,
    svg=outputs.svg,
    png=outputs.png,
    rows=rows_of(spec.pop("benchmark"), inputs.benchmark, inputs.get("intersection")),
    **spec,
)
