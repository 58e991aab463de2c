"""All models on a further benchmark."""

from countclip.benchmarks import custom, overlap
from countclip.report import table1
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
table1.make_benchmark_table(
    given.predictions,
    made.csv,
    made.markdown,
    rows=custom.rows_of(given.benchmark),
    benchmark=snakemake.wildcards.benchmark,  # noqa: F821
    seen=overlap.seen(
        given.benchmark, given.counting, given.non_counting, given.countbench, spec["distance"]
    ),
    **spec,
)
