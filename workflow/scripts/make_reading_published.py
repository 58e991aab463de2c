"""Published accuracies of answers read by CLIP, with intervals and tests."""

from countclip.experiments.reading import published
from countclip.runtime.job import start

start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
published.make_published(
    snakemake.input.published,  # noqa: F821
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
)
