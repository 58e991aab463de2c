"""The table of text domains: training texts by test prompts."""

from countclip.experiments.soft_labels.domain_table import make_table
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
make_table(
    snakemake.input.answers,  # noqa: F821
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    labels=dict(spec["labels"]),
    shares=spec["shares"],
    scale=spec["scale"],
)
