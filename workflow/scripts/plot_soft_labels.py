"""Top-1 after pretraining with hard and soft labels, on frequent and on rare classes."""

from countclip.experiments.soft_labels import accuracy_figure
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
accuracy_figure.draw(
    snakemake.input.table,  # noqa: F821
    svg=outputs.svg,
    png=outputs.png,
    scale=spec["scale"],
)
