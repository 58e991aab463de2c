"""How many of the first pictures for "five dogs" show five: the table."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import retrieval
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec.pop("benchmark"), given.benchmark, given.get("intersection"))
retrieval.tabulate(given.scores, made.csv, made.markdown, rows=rows, **spec)
