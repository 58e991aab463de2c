"""How much each token of the benchmark's captions matters, before and after."""

from countclip import evaluation, pictures, relevancy
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, how = snakemake.input, snakemake.resources  # noqa: F821
relevancy.measure(
    evaluation.untouched_and(given.weights),
    spec["model"],
    pictures.read_benchmark(given.benchmark, given.benchmark_images),
    snakemake.output.measured,  # noqa: F821
    accelerator=how.accelerator,
    **spec["evaluation"],
)
