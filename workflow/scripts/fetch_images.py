"""Fetch the images of one part's candidates with img2dataset."""

from countclip.data import fetch
from countclip.runtime.connection import connection
from countclip.runtime.files import digest
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
resources = snakemake.resources  # noqa: F821
# Each version of the code and settings has a folder, so that their shards do not mix.
state = f"results/.state/fetch/{snakemake.wildcards.part}/{digest(*snakemake.params)}"  # noqa: F821
with connection(spec["network"], inputs.get("world")) as environment:
    fetch.fetch_images(
        candidates=inputs.candidates,
        manifest=outputs.manifest,
        counts=outputs.counts,
        **spec["fetch"],
        folder=spec["laion"]["images"],
        state=state,
        environment=environment,
        processes=snakemake.threads,  # noqa: F821
        shard_rows=resources.shard_rows,
        success_percent_min=resources.success_percent_min,
        connections=resources.connections,
        stall_minutes=resources.stall_minutes,
        attempts=resources.attempts,
    )
