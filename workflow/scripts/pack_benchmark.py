"""The images of a benchmark at the model's size, in one array."""

from countclip.benchmarks import store
from countclip.model import inputs
from countclip.model.clip import preprocessing_from
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
files = snakemake.input  # noqa: F821
inputs.pack_images(
    store.images_in_order(files.benchmark, files.benchmark_images),
    n=store.count_rows(files.benchmark),
    how=preprocessing_from(spec),
    path=snakemake.output.images,  # noqa: F821
)
