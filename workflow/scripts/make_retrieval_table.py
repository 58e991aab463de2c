"""Retrieval by count: precision at k of queries such as "five dogs"."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import retrieval
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
retrieval.tabulate(
    inputs.scores,
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    rows=rows_of(spec.pop("benchmark"), inputs.benchmark, inputs.get("intersection")),
    **spec,
)
