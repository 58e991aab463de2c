"""One run's weights moved towards the untouched ones: counting and retention at every alpha."""

from countclip.benchmarks import store
from countclip.benchmarks.countbench import rows_of
from countclip.evaluation import retention_data, wise_ft
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
given, how, benchmark = snakemake.input, snakemake.resources, spec["countbench"]  # noqa: F821
tasks = zip(spec["tasks"], given.images, given.texts, strict=True)
wise_ft.sweep(
    given.weights,
    spec["model"],
    store.read_benchmark(given.benchmark, given.benchmark_images),
    (given.counting, given.counting_images),
    {name: retention_data.unpack(*files, *map(resource, said)) for (name, said), *files in tasks},
    snakemake.output.measured,  # noqa: F821
    alphas=spec["wise_ft"]["alphas"],
    rows=rows_of(benchmark["variant"], given.benchmark, given.get("intersection")),
    replace=benchmark["replace"],
    accelerator=how.accelerator,
    batch=how.batch,
    **spec["evaluation"],
)
