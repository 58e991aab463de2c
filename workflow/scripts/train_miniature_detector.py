"""Train the miniature's detector from random weights, once: the result is committed."""

from countclip.runtime.job import start
from miniature import detector

spec = start(snakemake)  # noqa: F821
detector.train(
    snakemake.output.onnx,  # noqa: F821
    snakemake.output.recipe,  # noqa: F821
    threads=snakemake.threads,  # noqa: F821
    **spec["miniature_detector"],
)
