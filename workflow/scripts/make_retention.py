"""Retention: every task and variant, before and after fine-tuning."""

from countclip.report import retention
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
retention.make_retention(
    snakemake.input.answers,  # noqa: F821
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    **spec,
)
