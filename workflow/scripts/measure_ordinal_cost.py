"""Inference cost of each method of ordinal regression beside plain CLIP."""

from countclip.experiments.ordinal import cost
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
cost.measure(
    model=spec["model"],
    task=spec["task"],
    methods=dict(spec["methods"]),
    threads=spec["threads"],
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    scale=spec["scale"],
)
