"""Ranks of single words, for each reader."""

from pathlib import Path

from countclip.experiments.reading import words
from countclip.runtime.folders import ImageFolder
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
inputs, settings = snakemake.input, spec["words"]  # noqa: F821
weights = {Path(file).parts[-3]: file for file in inputs.weights}
words.read_words(
    inputs.words[0],
    ImageFolder(Path(resource(settings["images"])), settings["follow_links"]),
    inputs.summary,
    {name: (reader, weights.get(name)) for name, reader in spec["readers"]},
    snakemake.output.words,  # noqa: F821
    model=spec["model"],
    question=settings["question"],
    answer_template=settings["answer_template"],
    accelerator=snakemake.resources.accelerator,  # noqa: F821
    **spec["evaluation"],
)
