"""One retention task: its pictures at the size that the model wants, its texts, what belongs."""

from countclip import retention
from countclip.job import start
from countclip.models import image_size

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
task = retention.read(spec["task"]["source"], given.folder, given.annotations or None)
retention.pack(task, image_size(**spec["model"]), made.images, made.texts)
