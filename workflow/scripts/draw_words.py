"""Draw the miniature's images of single words, and a table of them."""

from countclip.runtime.job import start
from miniature import signs

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
signs.make_words(spec["miniature_signs"]["words"], outputs.table, outputs.images)
