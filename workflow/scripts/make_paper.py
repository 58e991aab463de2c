"""The paper's own figures, with intervals and tests."""

from countclip import published
from countclip.job import start

start(snakemake)  # noqa: F821
made = snakemake.output  # noqa: F821
published.make_paper(snakemake.input.matrices, made.csv, made.markdown)  # noqa: F821
