"""Relevancy of each token of the benchmark's captions, before and after fine-tuning."""

from countclip.benchmarks import store
from countclip.evaluation import counting, relevancy
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
files, how = snakemake.input, snakemake.resources  # noqa: F821
relevancy.measure(
    counting.baseline_and_runs(files.weights),
    spec["model"],
    store.read_packed(files.benchmark, files.benchmark_images),
    snakemake.output.measured,  # noqa: F821
    accelerator=how.accelerator,
    **spec["evaluation"],
)
