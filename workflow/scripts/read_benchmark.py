"""Read a further benchmark from its publisher's file: the rows and images to measure on."""

from pathlib import Path

from countclip.benchmarks import custom
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
custom.read(
    inputs.rows,
    benchmark_parquet=outputs.benchmark,
    images_parquet=outputs.images,
    summary_json=outputs.summary,
    source=spec["source"],
    image_source=inputs.get("answers") or resource(spec["images"] or str(Path(inputs.rows).parent)),
    template=spec["caption"],
    expected=spec["sha256"],
    max_bytes=spec["countbench"]["request"]["max_bytes"],
    image_limits=spec["countbench"]["picture"],
    follow_links=spec["follow_links"],
)
