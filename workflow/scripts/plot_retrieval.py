"""The first pictures for some queries by count, before and after."""

from countclip.benchmarks import store
from countclip.benchmarks.countbench import rows_of
from countclip.report import retrieval
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec.pop("benchmark"), given.benchmark, given.get("intersection"))
images = store.read_benchmark(given.benchmark, given.benchmark_images)
retrieval.draw(given.scores, images, made.svg, made.png, rows=rows, **spec)
