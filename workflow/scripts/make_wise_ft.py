"""WiSE-FT: counting and retention at every alpha, and the chosen alphas."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import retention
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
retention.make_wise_ft(
    inputs.runs,
    csv_path=outputs.csv,
    json_path=outputs.json,
    rows=rows_of(spec["benchmark"], inputs.benchmark, inputs.get("intersection")),
    **spec,
)
