"""Draw the miniature's example of a user's benchmark."""

from countclip.runtime.job import start
from miniature import own_benchmark

start(snakemake)  # noqa: F821
own_benchmark.make(snakemake.output.table, snakemake.output.pictures)  # noqa: F821
