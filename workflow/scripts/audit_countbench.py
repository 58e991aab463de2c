"""The state of every link of the benchmark, with evidence, and the pictures that came."""

from countclip import countbench
from countclip.connection import connection
from countclip.files import digest, sha256
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, made, params = snakemake.input, snakemake.output, snakemake.params  # noqa: F821
request = spec["countbench"]["request"] | {"retries": snakemake.resources.retries}  # noqa: F821
key = digest(params.spec, params.code, sha256(given.list))
with connection(spec["network"], given.get("world")) as environment:
    countbench.audit(
        given.list,
        made.audit,
        made.images,
        state=f"results/.state/countbench/{key}",
        environment=environment,
        threads=snakemake.resources.connections,  # noqa: F821
        request=request,
        picture=spec["countbench"]["picture"],
    )
