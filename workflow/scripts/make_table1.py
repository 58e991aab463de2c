"""Table 1: every variant, the baseline and the controls, beside the paper."""

from countclip.benchmarks.countbench import rows_of
from countclip.benchmarks.overlap import repeated_images
from countclip.report import table1
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec["benchmark"], inputs.benchmark, inputs.get("intersection"))
table1.make_table1(
    inputs.predictions,
    paper_csv=inputs.paper,
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    latex_path=outputs.latex,
    per_class_csv=outputs.per_class,
    rows=rows,
    repeated=repeated_images(inputs.benchmark, rows),
    **spec,
)
