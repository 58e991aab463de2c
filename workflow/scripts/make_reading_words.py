"""The table of single words."""

from countclip.experiments.reading import word_table
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
word_table.make_words(
    snakemake.input.words,  # noqa: F821
    dict(spec["labels"]),
    spec["scale"],
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
)
