"""Predictions of a pretrained model on a benchmark, without any training."""

from countclip.evaluation import zero_shot
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
files, outputs, how = snakemake.input, snakemake.output, snakemake.resources  # noqa: F821
zero_shot.measure(
    snakemake.wildcards.model,  # noqa: F821
    spec["model"],
    files.weights or None,
    files.benchmark,
    files.benchmark_images,
    predictions_path=outputs.predictions,
    facts_path=outputs.facts,
    replace=spec["countbench"]["replace"],
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
