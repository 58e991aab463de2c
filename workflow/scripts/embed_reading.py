"""Embeddings of images, questions and answers, and of the pool."""

from countclip.experiments.reading.embed import embed
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
names = ("questions", "images", "embeddings")
files = zip(inputs.questions, inputs.images, outputs.splits, strict=True)
embed(
    {
        split: dict(zip(names, of_split, strict=True))
        for split, of_split in zip(("train", "validation"), files, strict=True)
    },
    inputs.pool,
    outputs.pool,
    outputs.summary,
    accelerator=snakemake.resources.accelerator,  # noqa: F821
    **spec["reading"],
    **spec["evaluation"],
)
