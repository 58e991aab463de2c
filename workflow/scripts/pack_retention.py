"""One retention task: its pictures at the size that the model wants, its texts, what belongs."""

from countclip.evaluation import retention_data
from countclip.model.clip import image_size
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
task = retention_data.read(spec["task"]["source"], given.folder, given.annotations or None)
retention_data.pack(task, image_size(**spec["model"]), made.images, made.texts)
