"""One array with the picture of every training pair, at the size that the model wants."""

import pandas as pd

from countclip import batches, fetch
from countclip.job import start
from countclip.models import Clip

spec = start(snakemake)  # noqa: F821
tables = (snakemake.input.counting, snakemake.input.non_counting)  # noqa: F821
pairs = pd.concat([pd.read_parquet(table, columns=["part", "key"]) for table in tables])
batches.pack_images(
    fetch.read_pairs(snakemake.input.images, pairs),  # noqa: F821
    n=len(pairs),
    size=Clip(**spec["model"]).image_size,
    path=snakemake.output.images,  # noqa: F821
)
