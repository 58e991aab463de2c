"""Check the CSV of an ordinal set, and make its folds."""

from pathlib import Path

from countclip.experiments.ordinal import data
from countclip.experiments.ordinal.bins import Bins
from countclip.runtime.folders import ImageFolder
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
data.make_folds(
    snakemake.input.csv[0],  # noqa: F821
    ImageFolder(Path(resource(spec["images"])), spec["follow_links"]),
    values=spec["task"]["values"],
    bins=Bins.of_task(spec["task"]),
    draw=data.Draw(**spec["folds"]),
    images_parquet=outputs.images,
    fold_folder=outputs.folds,
    summary_json=outputs.summary,
)
