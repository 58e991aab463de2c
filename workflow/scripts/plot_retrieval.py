"""The first pictures for some queries by count, before and after."""

from countclip import pictures, retrieval_results
from countclip.countbench import rows_of
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec.pop("benchmark"), given.benchmark, given.get("intersection"))
images = pictures.read_benchmark(given.benchmark, given.benchmark_images)
retrieval_results.draw(given.scores, images, made.svg, made.png, rows=rows, **spec)
