"""Losses and accuracies by step, for every variant."""

from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
figures.training_curves(given.histories, made.svg, made.png, **spec)
