"""Exports the detector's weights to a form that runs faster."""

from countclip import weights
from countclip.files import resource
from countclip.job import start

detector = start(snakemake)["detector"]  # noqa: F821
weights.export_weights(
    resource(detector["weights"]),
    snakemake.output.weights,  # noqa: F821
    sha256=detector["sha256"],
    image_size=detector["image_size"],
    batch=detector["batch"],
)
