"""What the untouched pretrained model predicts on the benchmark."""

from countclip import evaluation, pictures
from countclip.job import start

spec = start(snakemake)  # noqa: F821
evaluation.evaluate(
    {"end": None},
    spec["model"],
    pictures.read_benchmark(snakemake.input.benchmark, snakemake.input.benchmark_images),  # noqa: F821
    variant="baseline",
    seed=0,
    path=snakemake.output.predictions,  # noqa: F821
    replace=spec["countbench"]["replace"],
)
