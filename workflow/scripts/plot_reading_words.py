"""Which single words the last reader of the table reads, by letters and by height."""

from countclip.experiments.reading import word_table
from countclip.report.sheets import read_csv
from countclip.runtime.job import start

((reader, label),) = start(snakemake)["reader"]  # noqa: F821
outputs = snakemake.output  # noqa: F821
table = read_csv(snakemake.input.table, value=str)  # noqa: F821
word_table.draw_words(table, reader, label, svg=outputs.svg, png=outputs.png)
