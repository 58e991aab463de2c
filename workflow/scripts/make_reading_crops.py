"""The table of views: what they cut off, and which part answers."""

from pathlib import Path

from countclip.experiments.reading import crop_table
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
((_, label),) = spec["labels"]
crop_table.make_crops(
    {Path(file).stem: file for file in inputs.views},
    questions_parquet=inputs.questions,
    images_parquet=inputs.images,
    sizes_parquet=inputs.sizes,
    pool_csv=inputs.pool,
    reader=label,
    scale=spec["scale"],
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
)
