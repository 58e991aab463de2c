"""What an OCR engine reads in the images of the validation split."""

import pandas as pd

from countclip.experiments.reading import ocr
from countclip.experiments.reading.sources import Source
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
names = list(pd.read_parquet(inputs.images).sort_values("index")["image_id"])
ocr.read_images(
    Source.of(inputs.files, spec).images(names),
    ocr.Engine(spec["reading"]["ocr_longest_side"], snakemake.threads),  # noqa: F821
    snakemake.output.ocr,  # noqa: F821
)
