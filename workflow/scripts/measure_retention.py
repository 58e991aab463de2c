"""What one model answers in a retention task: at each checkpoint, or as it was pretrained."""

from pathlib import Path

from countclip.evaluation import retention, retention_data
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, wildcards, how = snakemake.input, snakemake.wildcards, snakemake.resources  # noqa: F821
retention.measure(
    {Path(file).stem: file for file in given.checkpoints} or {"end": None},
    spec["model"],
    retention_data.unpack(given.images, given.texts, *given.templates),
    snakemake.output.answers,  # noqa: F821
    task=wildcards.task,
    variant=wildcards.variant,
    seed=int(wildcards.seed),
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
