"""Write the images of the audit as a lock file, to copy and commit."""

from countclip.benchmarks import audit
from countclip.runtime.job import start

start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
audit.write_lock(
    audit_csv=inputs.audit,
    lock_csv=snakemake.output.lock,  # noqa: F821
    earlier_csv=inputs.get("earlier"),
)
