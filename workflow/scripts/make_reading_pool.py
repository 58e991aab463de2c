"""The pool of answers that readers choose from."""

from countclip.experiments.reading import pool
from countclip.experiments.reading.data import read_questions
from countclip.runtime.job import start

settings = start(snakemake)["reading"]["pool"]  # noqa: F821
outputs = snakemake.output  # noqa: F821
pool.make_pool(
    read_questions(snakemake.input.questions),  # noqa: F821
    settings["size"],
    meta_answers=settings["meta_answers"],
    pool_csv=outputs.pool,
    summary_json=outputs.summary,
)
