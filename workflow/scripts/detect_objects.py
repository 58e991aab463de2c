"""Detects objects in the images of one part whose captions name a number."""

from countclip import detect
from countclip.files import resource
from countclip.job import start

spec = start(snakemake)  # noqa: F821
settings = spec["detector"] | {"weights": resource(spec["detector"]["weights"])}
part, code = snakemake.wildcards.part, snakemake.params.code  # noqa: F821
detect.detect_objects(
    snakemake.input.candidates,  # noqa: F821
    snakemake.input.manifest,  # noqa: F821
    snakemake.output.detections,  # noqa: F821
    **settings,
    state=f"results/.state/detect/{part}/{code}",  # blocks of older code are not mixed in
    threads=snakemake.threads,  # noqa: F821
)
