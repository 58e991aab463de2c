"""What one model predicts on a benchmark: at each checkpoint of a run, or untouched."""

from pathlib import Path

from countclip.benchmarks import store
from countclip.evaluation import counting
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
wildcards, given, how = snakemake.wildcards, snakemake.input, snakemake.resources  # noqa: F821
counting.evaluate(
    {Path(file).stem: file for file in given.checkpoints} or {"end": None},
    spec["model"],
    store.read_benchmark(given.benchmark, given.benchmark_images),
    variant=wildcards.variant,
    seed=int(wildcards.seed),
    path=snakemake.output.predictions,  # noqa: F821
    replace=spec["countbench"]["replace"],
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
