"""A further benchmark as it is measured on, from its publisher's file."""

from countclip import benchmarks
from countclip.files import resource
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
benchmarks.read(
    given.rows,
    made.benchmark,
    made.images,
    made.summary,
    source=spec["source"],
    folder=spec["images"] and resource(spec["images"]),
    template=spec["caption"],
    expected=spec["sha256"],
    max_bytes=spec["countbench"]["request"]["max_bytes"],
    picture=spec["countbench"]["picture"],
)
