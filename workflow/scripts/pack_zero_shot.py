"""The test images of pretraining at the nets' size, and how often captions name each class."""

from countclip.evaluation import retention_data
from countclip.experiments.soft_labels.pairs import count_classes
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
task = retention_data.read(spec["source"], inputs.folder, None)
retention_data.pack(task, spec["image_size"], outputs.images, outputs.texts)
count_classes(task.texts, inputs.pairs, spec["objects"], outputs.classes)
