"""The image of every training pair at the model's size, in one array."""

import pyarrow.parquet as pq

from countclip.data import images, shards
from countclip.model import inputs
from countclip.model.clip import preprocessing_from
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
files = snakemake.input  # noqa: F821
tables = (files.counting, files.non_counting)
inputs.pack_images(
    map(images.decode, shards.read_pairs(files.images, *tables)),
    n=sum(pq.read_metadata(table).num_rows for table in tables),
    how=preprocessing_from(spec),
    path=snakemake.output.images,  # noqa: F821
)
