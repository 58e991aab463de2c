"""Counting against retention for the weights between the untouched model and the tuned ones."""

from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
made = snakemake.output  # noqa: F821
figures.wise_ft(snakemake.input.table, made.svg, made.png, **spec)  # noqa: F821
