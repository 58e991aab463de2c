"""One array with the picture of every training pair, at the size that the model wants."""

import pyarrow.parquet as pq

from countclip import batches, pictures
from countclip.job import start
from countclip.models import image_size

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
tables = (given.counting, given.non_counting)
batches.pack_images(
    map(pictures.decode, pictures.read_pairs(given.images, *tables)),
    n=sum(pq.read_metadata(table).num_rows for table in tables),
    size=image_size(**spec["model"]),
    path=snakemake.output.images,  # noqa: F821
)
