"""Downloads the benchmark's list, verified."""

from countclip.benchmarks import check_links
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
about = spec["countbench"]
with connection(spec["network"], snakemake.input.get("world")) as environment:  # noqa: F821
    check_links.download_list(
        about["list_url"],
        snakemake.output.list,  # noqa: F821
        expected=about["list_sha256"],
        max_bytes=about["request"]["max_bytes"],
        environment=environment,
    )
