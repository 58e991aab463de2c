"""Some composed images of each set and operation, beside their sources."""

from countclip.report import composed
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
composed.draw(list(inputs.pairs), list(inputs.images), svg=outputs.svg, png=outputs.png, **spec)
