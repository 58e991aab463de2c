"""Ablations: every variant beside the reference, with its changed settings."""

from countclip.report import ablations
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
ablations.make_ablations(
    snakemake.input.table1,  # noqa: F821
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    **spec,
)
