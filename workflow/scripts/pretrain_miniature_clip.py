"""Pretrain the miniature's CLIP from random weights, once: the result is committed."""

from countclip.runtime.job import start
from miniature import clip

spec = start(snakemake)  # noqa: F821
clip.pretrain(
    dict(snakemake.output.items()),  # noqa: F821
    "results/.state/pretrain_miniature_clip",
    threads=snakemake.threads,  # noqa: F821
    **spec["miniature_clip"],
)
