"""Makes the candidates of one part: rows that name a number, and a sample of the others."""

from countclip.data import filtering
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
part, code = snakemake.wildcards.part, snakemake.params.code  # noqa: F821
filtering.filter_part(
    snakemake.input.part,  # noqa: F821
    snakemake.output.candidates,  # noqa: F821
    snakemake.output.counts,  # noqa: F821
    state=f"results/.state/filter/{part}/{code}",  # row groups of older code are not gone on from
    threads=snakemake.threads,  # noqa: F821
    **spec["captions"],
)
