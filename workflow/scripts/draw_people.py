"""Draw the miniature's ordinal set: people of all ages, and a table of who is how old."""

from countclip.runtime.job import start
from miniature import people

start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
people.make(outputs.table, outputs.images)
