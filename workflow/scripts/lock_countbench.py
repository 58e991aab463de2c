"""What the audit saw, as a lock file to copy and commit."""

from countclip.benchmarks import audit
from countclip.runtime.job import start

start(snakemake)  # noqa: F821
audit.write_lock(snakemake.input.audit, snakemake.output.lock, snakemake.input.get("earlier"))  # noqa: F821
