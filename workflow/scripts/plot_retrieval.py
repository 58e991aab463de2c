"""First images found by some queries with a number, before and after."""

from countclip.benchmarks import store
from countclip.benchmarks.countbench import rows_of
from countclip.report import retrieval
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
rows = rows_of(spec.pop("benchmark"), inputs.benchmark, inputs.get("intersection"))
images = store.read_benchmark(inputs.benchmark, inputs.benchmark_images)
retrieval.draw(inputs.scores, images, svg=outputs.svg, png=outputs.png, rows=rows, **spec)
