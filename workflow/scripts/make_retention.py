"""Retention: every task and variant, before and after."""

from countclip.report import retention
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
made = snakemake.output  # noqa: F821
retention.make_retention(snakemake.input.answers, made.csv, made.markdown, **spec)  # noqa: F821
