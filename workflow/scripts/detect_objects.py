"""Detect objects in the images of one part whose captions name a number."""

from countclip.data import detector
from countclip.runtime.files import digest
from countclip.runtime.job import start
from countclip.runtime.resources import resource

settings = start(snakemake)["detector"]  # noqa: F821
# Each version of the code and settings has a folder, so that their blocks do not mix.
wildcards = snakemake.wildcards  # noqa: F821
name = wildcards.get("part") or f"counted/{wildcards.set}"
state = f"results/.state/detect/{name}/{digest(*snakemake.params)}"  # noqa: F821
del settings["weights"]
if settings.pop("export"):
    del settings["sha256"]  # of the .pt file, which was verified at its export
detector.detect_objects(
    candidates=snakemake.input.candidates,  # noqa: F821
    manifest=snakemake.input.manifest,  # noqa: F821
    detections=snakemake.output.detections,  # noqa: F821
    weights=resource(snakemake.params.weights),  # noqa: F821
    **settings,
    state=state,
    threads=snakemake.threads,  # noqa: F821
)
