"""One run's weights moved towards the untouched ones: counting and retention at every alpha."""

from countclip import pictures, retention, wise_ft
from countclip.countbench import rows_of
from countclip.files import resource
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given, how, benchmark = snakemake.input, snakemake.resources, spec["countbench"]  # noqa: F821
tasks = zip(spec["tasks"], given.images, given.texts, strict=True)
wise_ft.sweep(
    given.weights,
    spec["model"],
    pictures.read_benchmark(given.benchmark, given.benchmark_images),
    (given.counting, given.counting_images),
    {name: retention.unpack(*files, *map(resource, said)) for (name, said), *files in tasks},
    snakemake.output.measured,  # noqa: F821
    alphas=spec["wise_ft"]["alphas"],
    rows=rows_of(benchmark["variant"], given.benchmark, given.get("intersection")),
    replace=benchmark["replace"],
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
