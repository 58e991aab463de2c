"""Losses and accuracies by step, for every variant."""

from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
figures.training_curves(
    snakemake.input.histories,  # noqa: F821
    svg=outputs.svg,
    png=outputs.png,
    **spec,
)
