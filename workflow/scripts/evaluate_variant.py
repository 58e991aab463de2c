"""What one trained run predicts on the benchmark, for each of its three checkpoints."""

from countclip import evaluation, pictures
from countclip.job import start

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
evaluation.evaluate(
    {"end": given.end, "best_on_benchmark": given.best, "selected": given.selected},
    spec["model"],
    pictures.read_benchmark(given.benchmark, given.benchmark_images),
    variant=snakemake.wildcards.variant,  # noqa: F821
    seed=int(snakemake.wildcards.seed),  # noqa: F821
    path=snakemake.output.predictions,  # noqa: F821
    replace=spec["countbench"]["replace"],
)
