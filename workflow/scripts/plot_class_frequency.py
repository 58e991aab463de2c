"""Fig. 2: training pairs of each class of the counting set."""

from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
figures.class_frequency(
    snakemake.input.class_frequency,  # noqa: F821
    svg=outputs.svg,
    png=outputs.png,
    name=snakemake.wildcards.set,  # noqa: F821
    **spec,
)
