"""Table 1: every variant, the baseline and the controls, ours beside the paper's."""

from countclip.benchmarks.countbench import rows_of
from countclip.report import table1
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
table1.make_table1(
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
