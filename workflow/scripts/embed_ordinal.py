"""Embeddings of the test images of fold 1 and of the concepts' texts, with some methods."""

from pathlib import Path

from countclip.experiments.ordinal import embed
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, how = snakemake.input, snakemake.resources  # noqa: F821
weights = {Path(file).parents[2].name: file for file in inputs.weights}
for path in snakemake.output:  # noqa: F821
    method = Path(path).stem
    embed.embed(
        str(Path(inputs.folds).with_suffix("") / "1.parquet"),
        inputs.images,
        weights.get(method),
        path,
        model=spec["model"],
        accelerator=how.accelerator,
        batch=how.batch,
        **spec["methods"][method],
        **spec["evaluation"],
    )
