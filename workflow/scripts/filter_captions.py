"""Filter the candidates of one part: rows with a number, and a sample of others."""

from countclip.data import filtering
from countclip.runtime.files import digest
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
# Each version of the code and settings has a folder, so that their row groups do not mix.
state = f"results/.state/filter/{snakemake.wildcards.part}/{digest(*snakemake.params)}"  # noqa: F821
filtering.filter_part(
    part=snakemake.input.part,  # noqa: F821
    candidates=snakemake.output.candidates,  # noqa: F821
    counts=snakemake.output.counts,  # noqa: F821
    state=state,
    threads=snakemake.threads,  # noqa: F821
    files=spec["laion"]["images"],
    **spec["captions"],
)
