"""Clusters of similar training questions, from which batches of hard negatives are drawn."""

from countclip.experiments.reading import clusters
from countclip.experiments.reading.embeddings import split_files
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
train, validation = split_files(inputs)
clusters.make_clusters(
    train,
    validation,
    hard_on=snakemake.wildcards.hard_on,  # noqa: F821
    **spec,
    clusters_parquet=outputs.clusters,
    summary_json=outputs.summary,
)
