"""How similar each query by count is to the pictures that it ranks, before and after."""

from countclip import evaluation, pictures, retrieval
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, how = snakemake.input, snakemake.resources  # noqa: F821
retrieval.retrieve(
    evaluation.untouched_and(given.weights),
    spec["model"],
    pictures.read_benchmark(given.benchmark, given.benchmark_images),
    snakemake.output.scores,  # noqa: F821
    table=given.nouns[0],
    accelerator=how.accelerator,
    **spec["evaluation"],
    **spec["retrieval"],
)
