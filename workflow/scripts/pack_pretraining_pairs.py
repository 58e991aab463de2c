"""The pairs of pretraining at the nets' size, with the objects of their captions."""

from countclip.experiments.soft_labels import pairs
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
pairs.pack(
    resource(spec["folder"]),
    size=spec["image_size"],
    unit=spec["objects"],
    number=spec["number"],
    images_npy=outputs.images,
    pairs_parquet=outputs.pairs,
    summary_json=outputs.summary,
)
