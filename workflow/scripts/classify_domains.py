"""Zero-shot answers to prompts of each text domain, after each training."""

from pathlib import Path

from countclip.evaluation import retention_data
from countclip.experiments.soft_labels.classify import classify_domains
from countclip.experiments.soft_labels.domains import read_descriptions
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, how = snakemake.input, snakemake.resources  # noqa: F821
places = {file: Path(file).parts[-4:-1] for file in inputs.weights}
task = retention_data.unpack(inputs.images, inputs.texts, *inputs.templates)
classify_domains(
    {
        (target, texts, int(seed.removeprefix("seed"))): file
        for file, (target, texts, seed) in places.items()
    },
    spec["model"],
    task,
    read_descriptions(*inputs.descriptions, task.texts),
    snakemake.output.answers,  # noqa: F821
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
