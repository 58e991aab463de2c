"""One of Figs. 3-5: confusion matrices at one checkpoint."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec["benchmark"], inputs.benchmark, inputs.get("intersection"))
figures.confusion(inputs.predictions, svg=outputs.svg, png=outputs.png, rows=rows, **spec)
