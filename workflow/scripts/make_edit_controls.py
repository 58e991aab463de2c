"""Images of held-out pairs with objects of another class painted out or copied."""

from pathlib import Path

from countclip.data import edit_controls
from countclip.data.compose_sources import ComposeSettings
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
edit_controls.make_controls(
    counting=inputs.counting,
    images=dict(zip(spec["parts"], inputs.images, strict=True)),
    detections=dict(zip(spec["parts"], inputs.detections, strict=True)),
    confidence=spec["counting_set"]["confidence"],
    settings=ComposeSettings.of(spec["per_number"], **spec["compose"]),
    folder=Path(outputs.untouched).parent,
    summary=outputs.summary,
)
