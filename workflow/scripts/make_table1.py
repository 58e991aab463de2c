"""Table 1: every variant and the baseline, ours beside the paper's."""

from countclip import tables
from countclip.countbench import rows_of
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
tables.make_table1(
    given.predictions,
    given.paper,
    given.template,
    made.csv,
    made.markdown,
    made.html,
    rows=rows_of(spec["benchmark"], given.benchmark, given.get("intersection")),
    **spec,
)
