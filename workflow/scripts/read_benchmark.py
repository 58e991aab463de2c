"""A further benchmark as it is measured on, from its publisher's file."""

from pathlib import Path

from countclip.benchmarks import custom
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
custom.read(
    given.rows,
    made.benchmark,
    made.images,
    made.summary,
    source=spec["source"],
    pictures=given.get("answers") or resource(spec["images"] or str(Path(given.rows).parent)),
    template=spec["caption"],
    expected=spec["sha256"],
    max_bytes=spec["countbench"]["request"]["max_bytes"],
    picture=spec["countbench"]["picture"],
)
