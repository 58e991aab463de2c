"""The tables of all ordinal sets as one CSV."""

from pathlib import Path

from countclip.experiments.ordinal import table
from countclip.runtime.job import start

start(snakemake)  # noqa: F821
tables = {Path(file).parent.name: file for file in snakemake.input.tables}  # noqa: F821
table.join_tables(tables, snakemake.output.csv)  # noqa: F821
