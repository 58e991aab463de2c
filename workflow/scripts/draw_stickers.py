"""Draw the miniature's sheets of stickers: pairs to pretrain on, and images to test on."""

from countclip.runtime.job import start
from miniature import stickers

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
stickers.make(
    pair_folder=outputs.pairs,
    test_folder=outputs.test,
    digests=outputs.digests,
    pairs=spec["soft_labels"]["pretraining"]["pairs"]["number"] or stickers.PAIRS,
)
