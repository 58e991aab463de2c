"""The most frequent questions and answers of each split."""

from countclip.experiments.reading import figures
from countclip.runtime.job import start

start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
for kind in ("question", "answer"):
    figures.draw_counts(
        snakemake.input.counts,  # noqa: F821
        kind,
        svg=outputs[kind],
        png=outputs[f"{kind}_png"],
    )
