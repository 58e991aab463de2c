"""Fig. 2: how many pairs each class of the counting set has."""

from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made, name = snakemake.input, snakemake.output, snakemake.wildcards.set  # noqa: F821
figures.class_frequency(given.class_frequency, made.svg, made.png, name=name, **spec)
