"""Single questions with each reader's most probable answers."""

from countclip.experiments.reading import figures
from countclip.experiments.reading.data import read_questions
from countclip.experiments.reading.pool import read_pool
from countclip.experiments.reading.sources import Source
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
figures.make_panels(
    read_questions(inputs.questions),
    list(read_pool(inputs.pool)["answer"]),
    dict(zip([label for _, label in spec["labels"]], inputs.predictions, strict=True)),
    Source.of(inputs.files, spec),
    n=spec["questions"],
    seed=spec["seed"],
    scale=spec["scale"],
    svg=outputs.svg,
    png=outputs.png,
)
