"""List the image links of a benchmark whose publisher gives only links."""

from countclip.benchmarks import adapters
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
adapters.write_links(snakemake.input.rows, snakemake.output.links, spec["caption"])  # noqa: F821
