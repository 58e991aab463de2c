"""Table of all models of a list on every benchmark, without any training."""

from countclip.benchmarks import custom
from countclip.benchmarks.countbench import rows_of
from countclip.report import zero_shot
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
rows = {}
if inputs.countbench:
    counted = rows_of(spec["benchmark"], inputs.countbench, inputs.get("intersection"))
    rows["countbench"] = counted
rows |= {
    name: custom.rows_of(file) for name, file in zip(spec["further"], inputs.further, strict=True)
}
zero_shot.make_table(
    inputs.predictions,
    inputs.facts,
    rows,
    models=spec["models"],
    variant=spec["benchmark"],
    published_csv=inputs.published,
    scale=spec["scale"],
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
)
