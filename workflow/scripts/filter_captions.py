"""Filter the candidates of one part: rows that name a number, and a sample of the others."""

from countclip.data import filtering
from countclip.runtime.files import digest
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
# Each version of the code and settings has a folder, so that their row groups do not mix.
state = f"results/.state/filter/{snakemake.wildcards.part}/{digest(*snakemake.params)}"  # noqa: F821
filtering.filter_part(
    snakemake.input.part,  # noqa: F821
    snakemake.output.candidates,  # noqa: F821
    snakemake.output.counts,  # noqa: F821
    state=state,
    threads=snakemake.threads,  # noqa: F821
    **spec["captions"],
)
