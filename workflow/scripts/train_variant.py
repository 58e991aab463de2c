"""One variant fine-tuned with one seed: weights, history and lambdas."""

from countclip import models, pictures, training
from countclip.files import digest, sha256, write_json
from countclip.job import start

spec = start(snakemake)  # noqa: F821
wildcards, given, made = snakemake.wildcards, snakemake.input, snakemake.output  # noqa: F821
effort = snakemake.resources  # noqa: F821
run = {"variant": wildcards.variant, "seed": int(wildcards.seed)}
# A killed run goes on only if it would see the very same data, settings and code.
key = digest(snakemake.params.spec, snakemake.params.code, *map(sha256, given))  # noqa: F821
about = run | spec | {"digest": key, "versions": models.versions()}
steps = training.finetune(
    given.counting,
    given.non_counting,
    given.images,
    pictures.read_benchmark(given.benchmark, given.benchmark_images),
    outputs={
        "history": made.history,
        "lambdas": made.lambdas,
        "end": made.end,
        "benchmark_accuracy": made.best,
        "heldout_accuracy": made.selected,
    },
    state=f"results/.state/train_variant/{wildcards.variant}/seed{wildcards.seed}/{key}",
    about=about,
    model=spec["model"],
    seed=run["seed"],
    checkpoint_minutes=effort.checkpoint_minutes,
    loggers=[name for name in effort.loggers.split(",") if name],
    **spec["training"],
)
write_json(about | {"steps": steps}, made.model)
