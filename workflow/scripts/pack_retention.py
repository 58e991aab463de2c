"""One retention task: its images at the model's size, its texts, and which belong together."""

from countclip.evaluation import retention_data
from countclip.model.clip import preprocessing_from
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
files, outputs = snakemake.input, snakemake.output  # noqa: F821
task = retention_data.read(
    spec["task"]["source"], files.folder, files.annotations or None, spec["task"]["follow_links"]
)
retention_data.pack(task, preprocessing_from(spec), outputs.images, outputs.texts)
