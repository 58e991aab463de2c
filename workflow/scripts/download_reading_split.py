"""Download the Parquet files of one split of TextVQA and verify them."""

from countclip.data import laion
from countclip.experiments.reading.hub import TEXTVQA, download_parts, parts_of
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
outputs, (manifest,) = snakemake.output, snakemake.input.manifest  # noqa: F821
with connection(spec["network"]) as environment:
    download_parts(
        parts_of(laion.read_manifest(manifest), snakemake.wildcards.split),  # noqa: F821
        lambda part, path: laion.download_part(
            part,
            path,
            manifest=manifest,
            source="hub",
            **spec["reading"],
            state="results/.state/reading",
            environment=environment,
            data_set=TEXTVQA,
        ),
        outputs.folder,
        outputs.files,
    )
