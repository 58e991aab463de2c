"""One array with the picture of every training pair, at the size that the model wants."""

import pyarrow.parquet as pq

from countclip.data import images, shards
from countclip.model import inputs
from countclip.model.clip import image_size
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
tables = (given.counting, given.non_counting)
inputs.pack_images(
    map(images.decode, shards.read_pairs(given.images, *tables)),
    n=sum(pq.read_metadata(table).num_rows for table in tables),
    size=image_size(**spec["model"]),
    path=snakemake.output.images,  # noqa: F821
)
