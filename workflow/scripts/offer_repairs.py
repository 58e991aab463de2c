"""Lines for repairs.csv and their pictures, for a person to look at and take over."""

from countclip.benchmarks import repair_suggestions
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
repair_suggestions.offer(
    given.list,
    given.audit,
    snakemake.output.lines,  # noqa: F821
    copy=given.get("pictures"),
    picture=spec["countbench"]["picture"],
)
