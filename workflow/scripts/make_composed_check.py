"""How often the detector counts composed images right."""

from countclip.report import composed
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
composed.make_check(
    list(inputs.pairs),
    list(inputs.detections),
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    **spec,
)
