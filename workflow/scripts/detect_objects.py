"""Detects objects in the images of one part whose captions name a number."""

from countclip.data import detector
from countclip.runtime.files import digest
from countclip.runtime.job import start
from countclip.runtime.resources import resource

settings = start(snakemake)["detector"]  # noqa: F821
# Blocks of older code or settings are not mixed in.
state = f"results/.state/detect/{snakemake.wildcards.part}/{digest(*snakemake.params)}"  # noqa: F821
del settings["weights"]
if settings.pop("export"):
    del settings["sha256"]  # that of the file that was exported, which was checked then
detector.detect_objects(
    snakemake.input.candidates,  # noqa: F821
    snakemake.input.manifest,  # noqa: F821
    snakemake.output.detections,  # noqa: F821
    weights=resource(snakemake.params.weights),  # noqa: F821
    **settings,
    state=state,
    threads=snakemake.threads,  # noqa: F821
)
