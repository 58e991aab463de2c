"""The images of a split's questions at the model's size, in one array."""

import pandas as pd

from countclip.experiments.reading import images
from countclip.experiments.reading.sources import Source
from countclip.model.clip import preprocessing_from
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
names = list(pd.read_parquet(inputs.images).sort_values("index")["image_id"])
images.pack(
    Source.of(inputs.files, spec).images(names),
    len(names),
    size=preprocessing_from(spec),
    view=snakemake.wildcards.view,  # noqa: F821
    images_npy=outputs.images,
    sizes_parquet=outputs.sizes,
)
