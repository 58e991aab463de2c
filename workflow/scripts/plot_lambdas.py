"""Weight of the counting loss per class, under each lambda scheme."""

from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
figures.lambdas(
    snakemake.input.class_frequency,  # noqa: F821
    svg=outputs.svg,
    png=outputs.png,
    name=snakemake.wildcards.set,  # noqa: F821
    **spec,
)
