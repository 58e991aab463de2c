"""Table 1: every variant, the baseline and the controls, ours beside the paper's."""

from countclip import tables
from countclip.countbench import rows_of
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
tables.make_table1(
    given.predictions,
    given.paper,
    given.paper_matrices,
    given.template,
    made.csv,
    made.per_class,
    made.markdown,
    made.html,
    made.latex,
    rows=rows_of(spec["benchmark"], given.benchmark, given.get("intersection")),
    **spec,
)
