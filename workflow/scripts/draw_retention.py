"""The miniature's retention tasks: pictures to name, and captions to find."""

from countclip.job import start
from countclip.miniature import tasks

start(snakemake)  # noqa: F821
made = snakemake.output  # noqa: F821
tasks.write_tasks(made.things, made.pairs, made.captions)
