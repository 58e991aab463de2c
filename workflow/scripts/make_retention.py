"""Retention: every task and variant, before and after."""

from countclip import retention_results
from countclip.job import start

spec = start(snakemake)  # noqa: F821
made = snakemake.output  # noqa: F821
retention_results.make_retention(snakemake.input.answers, made.csv, made.markdown, **spec)  # noqa: F821
