"""One of Figs. 3-5: confusion matrices at one checkpoint."""

from countclip import figures
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
figures.confusion(given.predictions, made.svg, made.png, **spec)
