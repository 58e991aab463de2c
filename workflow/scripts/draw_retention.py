"""Draw the miniature's retention tasks: images to classify, and captions to retrieve."""

from countclip.runtime.job import start
from miniature import retention_tasks

start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
retention_tasks.write_tasks(
    class_folder=outputs.things,
    pair_folder=outputs.pairs,
    captions=outputs.captions,
    digests=outputs.digests,
)
