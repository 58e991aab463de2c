"""Answers by statements of question and answer, which the model compares with the image."""

from countclip.experiments.reading import statements
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
statements.predict(
    {"questions": inputs.questions, "embeddings": inputs.embeddings},
    inputs.pool,
    inputs.pool_embeddings,
    inputs.summary,
    snakemake.output.predictions,  # noqa: F821
    reader=spec["reader"],
    n=spec["statements"]["answers"],
    template=spec["statements"]["template"],
    model=spec["model"],
    accelerator=snakemake.resources.accelerator,  # noqa: F821
    **spec["evaluation"],
)
