"""Every variant beside the reference: what it changes, and what that changes."""

from countclip.report import ablations
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
made = snakemake.output  # noqa: F821
ablations.make_ablations(snakemake.input.table1, made.csv, made.markdown, **spec)  # noqa: F821
