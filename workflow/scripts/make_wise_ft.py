"""WiSE-FT: counting and retention at every alpha, the mean over the seeds, and which is chosen."""

from countclip import retention_results
from countclip.countbench import rows_of
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
rows = rows_of(spec["benchmark"], given.benchmark, given.get("intersection"))
retention_results.make_wise_ft(given.runs, snakemake.output.csv, rows=rows, **spec)  # noqa: F821
