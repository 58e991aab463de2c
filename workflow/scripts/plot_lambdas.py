"""The weight of the counting loss per class, under each lambda scheme."""

from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made, name = snakemake.input, snakemake.output, snakemake.wildcards.set  # noqa: F821
figures.lambdas(given.class_frequency, made.svg, made.png, name=name, **spec)
