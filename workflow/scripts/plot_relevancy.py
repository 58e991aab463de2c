"""How much the number word matters, before and after: table and figure."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import relevancy
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec.pop("benchmark"), given.benchmark, given.get("intersection"))
relevancy.draw(given.measured, made.csv, made.svg, made.png, rows=rows, **spec)
