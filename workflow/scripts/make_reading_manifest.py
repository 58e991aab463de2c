"""List the files of TextVQA on the hub with their addresses, sizes and sha256."""

from countclip.data import laion
from countclip.experiments.reading.hub import TEXTVQA
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
with connection(spec["network"]) as environment:
    laion.make_manifest(
        snakemake.output.manifest,  # noqa: F821
        source="hub",
        **spec["reading"],
        folder=None,
        files=[],
        environment=environment,
        data_set=TEXTVQA,
    )
