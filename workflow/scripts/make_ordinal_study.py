"""The table of a study of ordinal regression: means and intervals over its draws."""

from countclip.experiments.ordinal import study_table
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
study_table.make_study_table(
    snakemake.input.predictions,  # noqa: F821
    snakemake.wildcards.study,  # noqa: F821
    levels=spec["levels"],
    task=spec["task"],
    labels=dict(spec["labels"]),
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    scale=spec["scale"],
)
