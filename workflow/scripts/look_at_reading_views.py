"""Answers of one reader to each part of the images that some views show."""

from pathlib import Path

from countclip.experiments.reading import looking
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, how = snakemake.input, snakemake.resources  # noqa: F821
((_, reader),) = spec["readers"]
looking.look_at_views(
    {Path(file).stem: file for file in inputs.images},
    {"questions": inputs.questions, "embeddings": inputs.embeddings},
    inputs.pool,
    inputs.pool_embeddings,
    inputs.summary,
    next(iter(inputs.get("weights", ())), None),
    {Path(file).stem: file for file in snakemake.output},  # noqa: F821
    reader=reader,
    model=spec["model"],
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
