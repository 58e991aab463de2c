"""Check the questions of one split, and make its tables."""

from countclip.experiments.reading import data
from countclip.experiments.reading.sources import Source
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
split = snakemake.wildcards.split  # noqa: F821
source = Source.of(inputs.files, spec)
data.make_split(
    source.questions(),
    source.files,
    split=split,
    counts=data.COUNTS[split] if spec["complete"] else None,
    ocr=next(iter(inputs.ocr), None),
    questions_parquet=outputs.questions,
    images_parquet=outputs.images,
    summary_json=outputs.summary,
)
