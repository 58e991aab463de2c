"""How much the number word matters, before and after: table and figure."""

from countclip import relevancy_results
from countclip.countbench import rows_of
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec.pop("benchmark"), given.benchmark, given.get("intersection"))
relevancy_results.draw(given.measured, made.csv, made.svg, made.png, rows=rows, **spec)
