"""One of Figs. 3-5: confusion matrices at one checkpoint."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec["benchmark"], given.benchmark, given.get("intersection"))
figures.confusion(given.predictions, made.svg, made.png, rows=rows, **spec)
