"""Top-1 after pretraining with hard and soft labels, on frequent and on rare classes."""

from countclip.experiments.soft_labels import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
figures.accuracies(
    snakemake.input.table,  # noqa: F821
    svg=outputs.svg,
    png=outputs.png,
    scale=spec["scale"],
)
