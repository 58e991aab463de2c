"""Apply a person's repairs to the audit: the benchmark as it is measured on."""

from countclip.benchmarks import repairs
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
resources = snakemake.resources  # noqa: F821
with connection(spec["network"], inputs.get("world")) as environment:
    repairs.repair(
        list_json=inputs.list,
        audit_csv=inputs.audit,
        audited_images=inputs.images,
        repairs_csv=inputs.repairs,
        benchmark_parquet=outputs.benchmark,
        images_parquet=outputs.images,
        summary_json=outputs.summary,
        state="results/.state/repairs",
        environment=environment,
        request=spec["countbench"]["request"] | {"retries": resources.retries},
        pause=resources.pause_ms / 1000,
        image_limits=spec["countbench"]["picture"],
    )
