"""Downloads one part of LAION's metadata, verified."""

from countclip import laion
from countclip.job import start

spec = start(snakemake)  # noqa: F821
laion.download_part(
    snakemake.wildcards.part,  # noqa: F821
    snakemake.output.part,  # noqa: F821
    manifest=snakemake.input.manifest,  # noqa: F821
    state="results/.state/laion",
    connection=spec["network"],
    world=snakemake.input.get("world"),  # noqa: F821
)
