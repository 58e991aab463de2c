"""The images of an ordinal set at the model's size, in one array."""

from pathlib import Path

from countclip.experiments.ordinal import images
from countclip.model.clip import preprocessing_from
from countclip.runtime.folders import ImageFolder
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
folder = ImageFolder(Path(resource(spec["set"]["images"])), spec["set"]["follow_links"])
how = preprocessing_from(spec)
images.pack(snakemake.input.images, folder, how, snakemake.output.images)  # noqa: F821
