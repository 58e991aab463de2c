"""The state of every link of the benchmark, with evidence, and the pictures that came."""

from countclip.benchmarks import audit
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
audit.audit(
    given.list,
    given.answers,
    made.audit,
    made.images,
    lock=given.get("lock"),
    picture=spec["countbench"]["picture"],
)
