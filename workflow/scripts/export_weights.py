"""Export the detector's weights to a faster format."""

from countclip.data import detector_backends
from countclip.runtime.job import start

detector = start(snakemake)["detector"]  # noqa: F821
detector_backends.export_weights(
    snakemake.input.weights[0],  # noqa: F821
    snakemake.output.weights,  # noqa: F821
    sha256=detector["sha256"],
    image_size=detector["image_size"],
    batch=detector["batch"],
)
