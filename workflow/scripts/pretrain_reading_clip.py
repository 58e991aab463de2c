"""Pretrain the CLIP that the embedded reading set starts from, once: the result is committed."""

from countclip.runtime.job import start
from miniature import reading_clip

spec = start(snakemake)  # noqa: F821
reading_clip.pretrain(
    dict(snakemake.output.items()),  # noqa: F821
    "results/.state/pretrain_reading_clip",
    threads=snakemake.threads,  # noqa: F821
    **spec["miniature_reading_clip"],
)
