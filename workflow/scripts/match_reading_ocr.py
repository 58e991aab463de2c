"""The answers of the pool that the words of OCR suggest."""

from countclip.experiments.reading import match
from countclip.runtime.job import start

start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
match.predict(inputs.questions, inputs.ocr, inputs.pool, snakemake.output.predictions)  # noqa: F821
