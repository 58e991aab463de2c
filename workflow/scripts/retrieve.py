"""How similar each query by count is to the pictures that it ranks, before and after."""

from countclip.benchmarks import store
from countclip.evaluation import counting, retrieval
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, how = snakemake.input, snakemake.resources  # noqa: F821
retrieval.retrieve(
    counting.baseline_and_runs(given.weights),
    spec["model"],
    store.read_benchmark(given.benchmark, given.benchmark_images),
    snakemake.output.scores,  # noqa: F821
    table=given.nouns[0],
    accelerator=how.accelerator,
    **spec["evaluation"],
    **spec["retrieval"],
)
