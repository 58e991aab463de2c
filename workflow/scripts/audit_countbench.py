"""Audit the links of the benchmark: a status with evidence for each, and the images."""

from countclip.benchmarks import audit
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
audit.audit(
    list_json=inputs.list,
    answers_parquet=inputs.answers,
    audit_csv=outputs.audit,
    images_parquet=outputs.images,
    lock_csv=inputs.get("lock"),
    image_limits=spec["countbench"]["picture"],
)
