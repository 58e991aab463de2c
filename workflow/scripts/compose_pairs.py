"""Compose pairs from a counting set until each number has enough of them."""

from countclip.data import compose
from countclip.data.compose_sources import ComposeSettings
from countclip.runtime.files import digest
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
name, params = spec["name"], map(str, snakemake.params)  # noqa: F821
compose.compose_pairs(
    counting=inputs.counting,
    non_counting=inputs.non_counting,
    class_frequency=inputs.class_frequency,
    summary=inputs.summary,
    images=dict(zip(spec["parts"], inputs.images, strict=True)),
    detections=dict(zip(spec["parts"], inputs.detections, strict=True)),
    benchmark=inputs.get("benchmark") or None,
    name=name,
    output=dict(snakemake.output.items()),  # noqa: F821
    **spec["counting_set"],
    settings=ComposeSettings.of(spec["per_number"], **spec["compose"]),
    state=f"results/.state/compose/{name}/{digest(*params)}",
    threads=snakemake.threads,  # noqa: F821
)
