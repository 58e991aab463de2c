"""Fetches the images of one part's candidates with img2dataset."""

from countclip import fetch
from countclip.job import start

spec = start(snakemake)  # noqa: F821
fetch.fetch_images(
    snakemake.input.candidates,  # noqa: F821
    snakemake.output.manifest,  # noqa: F821
    **spec["fetch"],
    state=f"results/.state/fetch/{snakemake.wildcards.part}",  # noqa: F821
    connection=spec["network"],
    world=snakemake.input.get("world"),  # noqa: F821
    processes=snakemake.threads,  # noqa: F821
    connections=snakemake.resources.connections,  # noqa: F821
    stall_minutes=snakemake.resources.stall_minutes,  # noqa: F821
    attempts=snakemake.resources.attempts,  # noqa: F821
)
