"""Error of each method in each bin of an ordinal set."""

from countclip.experiments.ordinal import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
figures.errors_by_bin(
    snakemake.input.per_bin,  # noqa: F821
    svg=outputs.svg,
    png=outputs.png,
    scale=spec["scale"],
    title=f"Mean absolute error by bin, set {snakemake.wildcards.set}",  # noqa: F821
)
