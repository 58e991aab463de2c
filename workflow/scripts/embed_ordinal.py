"""Embeddings of the test images of fold 1 and of the concepts' texts, with one method."""

from pathlib import Path

from countclip.experiments.ordinal import embeddings
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, how = snakemake.input, snakemake.resources  # noqa: F821
embeddings.embed(
    str(Path(inputs.folds).with_suffix("") / "1.parquet"),
    inputs.images,
    next(iter(inputs.weights), None),
    snakemake.output.embeddings,  # noqa: F821
    model=spec["model"],
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["ordinal"],
    **spec["evaluation"],
)
