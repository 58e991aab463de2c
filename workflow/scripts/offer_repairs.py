"""Lines for repairs.csv and their pictures, for a person to look at and take over."""

from countclip import offers
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
offers.offer(
    given.list,
    given.audit,
    snakemake.output.lines,  # noqa: F821
    copy=given.get("pictures"),
    picture=spec["countbench"]["picture"],
)
