"""What every link of the benchmark answers, as it came."""

from countclip.benchmarks import check_links
from countclip.runtime.connection import connection
from countclip.runtime.files import digest, sha256
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, resources = snakemake.input, snakemake.resources  # noqa: F821
key = digest(*snakemake.params, sha256(given.list))  # noqa: F821
with connection(spec["network"], given.get("world")) as environment:
    check_links.ask(
        given.list,
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
