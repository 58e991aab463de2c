"""Detect objects in the counted images of the calibration, at each of its settings."""

from countclip.data import calibration
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
images, settings = spec["calibration"], spec["detector"]
del settings["weights"]
if settings.pop("export"):
    del settings["sha256"]  # of the .pt file, which was verified at its export
calibration.detect_in_counted(
    resource(images.pop("path")),
    resource(images.pop("images")),
    snakemake.output.found,  # noqa: F821
    weights=resource(snakemake.params.weights),  # noqa: F821
    threads=snakemake.threads,  # noqa: F821
    **images,
    **settings,
)
