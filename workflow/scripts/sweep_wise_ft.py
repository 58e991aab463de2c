"""Counting and retention of one run's weights, interpolated with the pretrained ones."""

from countclip.benchmarks import store
from countclip.benchmarks.countbench import rows_of
from countclip.evaluation import retention_data, wise_ft
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
files, how, benchmark = snakemake.input, snakemake.resources, spec["countbench"]  # noqa: F821
tasks = zip(spec["tasks"], files.images, files.texts, strict=True)
wise_ft.sweep(
    files.weights,
    spec["model"],
    store.read_packed(files.benchmark, files.benchmark_images),
    (files.counting, files.counting_images),
    {
        name: retention_data.unpack(*packed, *map(resource, templates))
        for (name, templates), *packed in tasks
    },
    snakemake.output.measured,  # noqa: F821
    alphas=spec["wise_ft"]["alphas"],
    rows=rows_of(benchmark["variant"], files.benchmark, files.get("intersection")),
    replace=benchmark["replace"],
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
