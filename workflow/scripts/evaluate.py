"""Predictions of one run's checkpoints, or of the pretrained baseline, on a benchmark."""

from pathlib import Path

from countclip.benchmarks import store
from countclip.evaluation import counting
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
wildcards, files, how = snakemake.wildcards, snakemake.input, snakemake.resources  # noqa: F821
counting.evaluate(
    {Path(file).stem: file for file in files.checkpoints} or {"end": None},
    spec["model"],
    store.read_packed(files.benchmark, files.benchmark_images),
    variant=wildcards.variant,
    seed=int(wildcards.seed),
    path=snakemake.output.predictions,  # noqa: F821
    replace=spec["countbench"]["replace"],
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
