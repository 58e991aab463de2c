"""Order of the similarities of texts and images with each method, as a table and as figures."""

from pathlib import Path

from countclip.experiments.ordinal import figures
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
labels, of_set = dict(spec["labels"]), f", set {snakemake.wildcards.set}"  # noqa: F821
states = {labels[Path(file).stem]: file for file in inputs.embeddings}
figures.order_table(states, outputs.order, spec["scale"])
for draw, source, name, title in (
    (figures.similarities, states, "similarities", "Similarities in the order of the labels"),
    (figures.ordinality_by_span, outputs.order, "by_span", "Ordinality by span"),
    (figures.embedding_map, states, "map", "Images in their first two principal components"),
):
    files = {"svg": outputs[name], "png": outputs[f"{name}_png"]}
    draw(source, **files, scale=spec["scale"], title=title + of_set)
