"""Similarity of each query by count to the images that it ranks, before and after fine-tuning."""

from countclip.benchmarks import store
from countclip.evaluation import counting, retrieval
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
files, how = snakemake.input, snakemake.resources  # noqa: F821
retrieval.retrieve(
    counting.baseline_and_runs(files.weights),
    spec["model"],
    store.read_packed(files.benchmark, files.benchmark_images),
    snakemake.output.scores,  # noqa: F821
    table=files.nouns[0],
    accelerator=how.accelerator,
    **spec["evaluation"],
    **spec["retrieval"],
)
