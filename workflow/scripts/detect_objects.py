"""Detects objects in the images of one part whose captions name a number."""

from countclip.data import detector
from countclip.runtime.job import start
from countclip.runtime.provenance import resource

settings = start(snakemake)["detector"]  # noqa: F821
part, params = snakemake.wildcards.part, snakemake.params  # noqa: F821
del settings["weights"]
if settings.pop("export"):
    del settings["sha256"]  # that of the file that was exported, which was checked then
detector.detect_objects(
    snakemake.input.candidates,  # noqa: F821
    snakemake.input.manifest,  # noqa: F821
    snakemake.output.detections,  # noqa: F821
    weights=resource(params.weights),
    **settings,
    state=f"results/.state/detect/{part}/{params.code}",  # blocks of older code are not mixed in
    threads=snakemake.threads,  # noqa: F821
)
