"""Statistics of the paper's results, with intervals and tests."""

from countclip.report import paper
from countclip.runtime.job import start

start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
paper.make_paper(
    snakemake.input.matrices,  # noqa: F821
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
)
