"""Request every link of the benchmark and store the responses."""

from countclip.benchmarks import check_links
from countclip.runtime.connection import connection
from countclip.runtime.files import digest, sha256
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, resources = snakemake.input, snakemake.resources  # noqa: F821
key = digest(*map(str, snakemake.params), sha256(inputs.list))  # noqa: F821
with connection(spec["network"], inputs.get("world")) as environment:
    check_links.check_links(
        inputs.list,
        snakemake.output.answers,  # noqa: F821
        state=f"results/.state/countbench/{key}",
        environment=environment,
        request=spec["countbench"]["request"],
        threads=resources.connections,
        per_host=resources.per_host,
        pause=resources.pause_ms / 1000,
        retries=resources.retries,
        contact=resources.contact,
        witness=resources.witness,
    )
