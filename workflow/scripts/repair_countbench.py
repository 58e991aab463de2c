"""The benchmark as it is measured on: the audit with a person's repairs applied."""

from countclip.benchmarks import repairs
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
resources = snakemake.resources  # noqa: F821
with connection(spec["network"], given.get("world")) as environment:
    repairs.repair(
        given.list,
        given.audit,
        given.images,
        given.repairs,
        made.benchmark,
        made.images,
        made.summary,
        state="results/.state/repairs",
        environment=environment,
        request=spec["countbench"]["request"] | {"retries": resources.retries},
        pause=resources.pause_ms / 1000,
        picture=spec["countbench"]["picture"],
    )
