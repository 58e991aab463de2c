"""All models on a further benchmark."""

from countclip import benchmarks, overlap, tables
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
tables.make_benchmark_table(
    given.predictions,
    made.csv,
    made.markdown,
    rows=benchmarks.rows_of(given.benchmark),
    benchmark=snakemake.wildcards.benchmark,  # noqa: F821
    seen=overlap.seen(
        given.benchmark, given.counting, given.non_counting, given.countbench, spec["distance"]
    ),
    **spec,
)
