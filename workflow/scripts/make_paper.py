"""The paper's own figures, with intervals and tests."""

from countclip.report import paper
from countclip.runtime.job import start

start(snakemake)  # noqa: F821
made = snakemake.output  # noqa: F821
paper.make_paper(snakemake.input.matrices, made.csv, made.markdown)  # noqa: F821
