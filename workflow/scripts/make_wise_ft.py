"""WiSE-FT: counting and retention at every alpha, the mean over the seeds, and which is chosen."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import retention
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
rows = rows_of(spec["benchmark"], given.benchmark, given.get("intersection"))
retention.make_wise_ft(given.runs, snakemake.output.csv, rows=rows, **spec)  # noqa: F821
