"""One net pretrained under one target with one seed."""

from countclip.experiments.soft_labels.domains import Domains
from countclip.experiments.soft_labels.pretrain import pretrain
from countclip.runtime.files import digest, sha256
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
wildcards, inputs, effort = snakemake.wildcards, snakemake.input, snakemake.resources  # noqa: F821
name = f"{wildcards.net}_{wildcards.target}_{wildcards.texts}"
seed = int(wildcards.seed)
is_mixed = "shares" in spec
# A killed run goes on only if it would see the very same data, settings and code.
key = digest(*map(str, snakemake.params), *map(sha256, inputs))  # noqa: F821
pretrain(
    inputs.pairs,
    inputs.images,
    dict(snakemake.output.items()),  # noqa: F821
    state=f"results/.state/pretrain_clip/{name}/seed{seed}/{key}",
    metadata={"variant": name, "seed": seed, **spec, "digest": key},
    model=spec["model"],
    target=spec["target"],
    seed=seed,
    domains=Domains(*inputs.classes, *inputs.descriptions, spec["shares"]) if is_mixed else None,
    checkpoint_minutes=effort.checkpoint_minutes,
    loggers=[one for one in effort.loggers.split(",") if one],
    **spec["training"],
)
