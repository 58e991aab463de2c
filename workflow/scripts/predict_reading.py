"""Answers of every reader to the questions of the validation split."""

from pathlib import Path

from countclip.experiments.reading import evaluate
from countclip.experiments.reading.embeddings import split_files
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, readers = snakemake.input, dict(spec["readers"])  # noqa: F821
weights = {Path(file).parts[-3:-1]: file for file in inputs.weights}
for path in snakemake.output:  # noqa: F821
    name, seed = Path(path).stem, Path(path).parent.name
    evaluate.predict(
        *split_files(inputs),
        inputs.pool,
        inputs.pool_embeddings,
        inputs.summary,
        {Path(file).stem: file for file in inputs.clusters},
        weights.get((name, seed)),
        path,
        reader=readers[name],
        threads=spec["threads"],
    )
