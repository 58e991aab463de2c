"""Detects objects in the images of one part whose captions name a number."""

from countclip import detect
from countclip.files import resource
from countclip.job import start

settings = start(snakemake)["detector"]  # noqa: F821
part, params = snakemake.wildcards.part, snakemake.params  # noqa: F821
del settings["weights"]
if settings.pop("export"):
    del settings["sha256"]  # that of the file that was exported, which was checked then
detect.detect_objects(
    snakemake.input.candidates,  # noqa: F821
    snakemake.input.manifest,  # noqa: F821
    snakemake.output.detections,  # noqa: F821
    weights=resource(params.weights),
    **settings,
    state=f"results/.state/detect/{part}/{params.code}",  # blocks of older code are not mixed in
    threads=snakemake.threads,  # noqa: F821
)
