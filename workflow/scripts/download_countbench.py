"""Download the benchmark's list and verify it."""

from countclip.benchmarks import check_links
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
countbench = spec["countbench"]
with connection(spec["network"], snakemake.input.get("world")) as environment:  # noqa: F821
    check_links.download_list(
        countbench["list_url"],
        snakemake.output.list,  # noqa: F821
        expected=countbench["list_sha256"],
        max_bytes=countbench["request"]["max_bytes"],
        environment=environment,
    )
