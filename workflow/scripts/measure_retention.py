"""Answers of one run's checkpoints, or of the pretrained baseline, in a retention task."""

from pathlib import Path

from countclip.evaluation import retention, retention_data
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
files, wildcards, how = snakemake.input, snakemake.wildcards, snakemake.resources  # noqa: F821
retention.measure(
    {Path(file).stem: file for file in files.checkpoints} or {"end": None},
    spec["model"],
    retention_data.unpack(files.images, files.texts, *files.templates),
    snakemake.output.answers,  # noqa: F821
    task=wildcards.task,
    variant=wildcards.variant,
    seed=int(wildcards.seed),
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
