"""Counting against retention for weights between baseline and fine-tuned model."""

from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
figures.wise_ft(
    snakemake.input.table,  # noqa: F821
    svg=outputs.svg,
    png=outputs.png,
    **spec,
)
