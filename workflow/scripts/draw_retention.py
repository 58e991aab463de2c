"""The miniature's retention tasks: pictures to name, and captions to find."""

from countclip.runtime.job import start
from miniature import retention_tasks

start(snakemake)  # noqa: F821
made = snakemake.output  # noqa: F821
retention_tasks.write_tasks(made.things, made.pairs, made.captions)
