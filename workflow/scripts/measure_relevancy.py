"""How much each token of the benchmark's captions matters, before and after."""

from countclip.benchmarks import store
from countclip.evaluation import counting, relevancy
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, how = snakemake.input, snakemake.resources  # noqa: F821
relevancy.measure(
    counting.baseline_and_runs(given.weights),
    spec["model"],
    store.read_benchmark(given.benchmark, given.benchmark_images),
    snakemake.output.measured,  # noqa: F821
    accelerator=how.accelerator,
    **spec["evaluation"],
)
