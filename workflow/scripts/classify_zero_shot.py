"""Zero-shot answers of one net after each of its trainings."""

from pathlib import Path

from countclip.evaluation import retention_data
from countclip.experiments.soft_labels.classify import classify
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, how = snakemake.input, snakemake.resources  # noqa: F821
places = {file: Path(file).parts[-4:-1] for file in inputs.weights}
classify(
    {(target, int(seed.removeprefix("seed"))): file for file, (target, _, seed) in places.items()},
    spec["model"],
    retention_data.unpack(inputs.images, inputs.texts, *inputs.templates),
    snakemake.output.answers,  # noqa: F821
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
