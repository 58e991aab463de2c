"""Download one part of LAION's metadata and verify it."""

from countclip.data import laion
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
with connection(spec["network"], inputs.get("world")) as environment:
    laion.download_part(
        snakemake.wildcards.part,  # noqa: F821
        snakemake.output.part,  # noqa: F821
        manifest=inputs.manifest,
        **spec["laion"],
        state="results/.state/laion",
        environment=environment,
    )
