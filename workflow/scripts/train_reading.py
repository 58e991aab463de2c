"""One reader trained with each seed."""

from countclip.experiments.reading import train
from countclip.experiments.reading.embeddings import split_files
from countclip.runtime.files import digest, sha256
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
variant = snakemake.wildcards.variant  # noqa: F821
training, seeds = spec.pop("training"), spec.pop("seeds")
# A killed run goes on only if it would see the very same data, settings and code.
key = digest(*snakemake.params, *map(sha256, inputs))  # noqa: F821
for seed, end, history, model in zip(
    seeds, outputs.end, outputs.history, outputs.model, strict=True
):
    run = {"variant": variant, "seed": seed}
    train.train(
        *split_files(inputs),
        inputs.pool,
        inputs.pool_embeddings,
        inputs.summary,
        next(iter(inputs.get("clusters", ())), None),
        outputs={"end": end, "history": history, "model": model},
        state=f"results/.state/train_reading/{variant}/seed{seed}/{key}",
        metadata=run | spec | {"training": training, "digest": key},
        seed=seed,
        checkpoint_minutes=snakemake.resources.checkpoint_minutes,  # noqa: F821
        **spec,
        **training,
    )
