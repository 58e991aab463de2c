"""Downloads one part of LAION's metadata, verified."""

from countclip.data import laion
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
with connection(spec["network"], given.get("world")) as environment:
    laion.download_part(
        snakemake.wildcards.part,  # noqa: F821
        snakemake.output.part,  # noqa: F821
        manifest=given.manifest,
        **spec["laion"],
        state="results/.state/laion",
        environment=environment,
    )
