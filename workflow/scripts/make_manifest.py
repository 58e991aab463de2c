"""List the parts of LAION's metadata with their addresses, sizes and sha256."""

from countclip.data import laion
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
with connection(spec["network"], snakemake.input.get("world")) as environment:  # noqa: F821
    laion.make_manifest(
        snakemake.output.manifest,  # noqa: F821
        **spec["laion"],
        files=snakemake.input.files,  # noqa: F821
        environment=environment,
    )
