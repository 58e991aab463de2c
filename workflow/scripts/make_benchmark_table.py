"""Table of all models on a further benchmark."""

from countclip.benchmarks import custom, overlap
from countclip.report import table1
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
table1.make_benchmark_table(
    inputs.predictions,
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    rows=custom.rows_of(inputs.benchmark),
    benchmark=snakemake.wildcards.benchmark,  # noqa: F821
    seen=overlap.count_overlaps(
        benchmark=inputs.benchmark,
        counting=inputs.counting,
        non_counting=inputs.non_counting,
        countbench=inputs.get("countbench") or None,
        distance=spec["distance"],
    ),
    **spec,
)
