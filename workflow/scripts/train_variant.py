"""One variant fine-tuned with one seed: weights, history and lambdas."""

from countclip.benchmarks import store
from countclip.runtime.files import digest, sha256
from countclip.runtime.job import start
from countclip.training import counting

spec = start(snakemake)  # noqa: F821
wildcards, files, effort = snakemake.wildcards, snakemake.input, snakemake.resources  # noqa: F821
run = {"variant": wildcards.variant, "seed": int(wildcards.seed)}
# A killed run goes on only if it would see the very same data, settings and code.
key = digest(*map(str, snakemake.params), *map(sha256, files))  # noqa: F821
counting.finetune(
    files.counting,
    files.non_counting,
    files.images,
    store.read_packed(files.benchmark, files.benchmark_images),
    outputs=dict(snakemake.output.items()),  # noqa: F821
    state=f"results/.state/train_variant/{run['variant']}/seed{run['seed']}/{key}",
    metadata=run | spec | {"digest": key},
    model=spec["model"],
    replace=spec["countbench"]["replace"],
    seed=run["seed"],
    checkpoint_minutes=effort.checkpoint_minutes,
    objects=list(files.objects),
    loggers=[name for name in effort.loggers.split(",") if name],
    **spec["training"],
)
