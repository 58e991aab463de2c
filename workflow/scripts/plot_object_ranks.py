"""The objects of a caption set by rank, and where the tail begins."""

from countclip.experiments.soft_labels import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
objects = dict(zip(spec["units"], inputs, strict=True))
figures.object_ranks(
    objects, svg=outputs.svg, png=outputs.png, label=spec["label"], scale=spec["scale"]
)
