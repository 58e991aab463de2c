"""Error at each level of a study of ordinal regression."""

from countclip.experiments.ordinal import study_table
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
study_table.plot_study(
    snakemake.input.table,  # noqa: F821
    snakemake.wildcards.study,  # noqa: F821
    svg=outputs.svg,
    png=outputs.png,
    scale=spec["scale"],
)
