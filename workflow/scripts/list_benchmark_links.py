"""The addresses of a benchmark's pictures, where its publisher has no pictures."""

from countclip import benchmarks
from countclip.job import start

spec = start(snakemake)  # noqa: F821
benchmarks.write_links(snakemake.input.rows, snakemake.output.links, spec["caption"])  # noqa: F821
