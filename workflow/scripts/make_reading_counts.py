"""How often each question and answer comes, and what both splits share."""

from countclip.experiments.reading import figures
from countclip.experiments.reading.data import read_questions
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs, names = snakemake.output, ("train", "validation")  # noqa: F821
tables = map(read_questions, snakemake.input.questions)  # noqa: F821
figures.make_counts(
    dict(zip(names, tables, strict=True)),
    spec["scale"],
    counts_csv=outputs.counts,
    overlap_csv=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
)
