"""One method of ordinal regression trained on one fold with one seed."""

from countclip.experiments.ordinal import train
from countclip.runtime.files import digest, sha256
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
wildcards, inputs, effort = snakemake.wildcards, snakemake.input, snakemake.resources  # noqa: F821
fold = f"{inputs.folds.removesuffix('.json')}/{wildcards.fold}.parquet"
run = {"set": wildcards.set, "seed": int(wildcards.seed), "fold": int(wildcards.fold)}
# A killed run goes on only if it would see the very same data, settings and code.
files = (fold, inputs.images, *inputs.model)
key = digest(*snakemake.params, *map(sha256, files))  # noqa: F821
place = f"{run['set']}/{wildcards.method}/seed{run['seed']}/fold{run['fold']}"
state = f"results/.state/train_ordinal/{place}/{key}"
train.finetune(
    fold,
    inputs.images,
    # Nothing reads the last weights, which would be a third of the disk: they go with the state.
    outputs=dict(snakemake.output.items()) | {"end": f"{state}/end.safetensors"},  # noqa: F821
    state=state,
    metadata=run | spec | {"digest": key},
    model=spec["model"],
    seed=run["seed"],
    checkpoint_minutes=effort.checkpoint_minutes,
    loggers=[name for name in effort.loggers.split(",") if name],
    **spec["ordinal"],
)
