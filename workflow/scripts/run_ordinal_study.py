"""The trainings of a study of ordinal regression, one after the other, and what they predict."""

import json
from pathlib import Path

from countclip.experiments.ordinal import studies
from countclip.runtime.files import digest, sha256
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, study = snakemake.input, snakemake.wildcards.study  # noqa: F821
how = snakemake.resources  # noqa: F821
summary = json.loads(Path(inputs.folds).read_text(encoding="utf-8"))
folder = Path(inputs.folds).with_suffix("")
# A killed study goes on only if it would see the very same data, settings and code.
files = (inputs.folds, inputs.images, *inputs.model)
key = digest(*snakemake.params, *map(sha256, files))  # noqa: F821
studies.run(
    study,
    [str(folder / f"{fold}.parquet") for fold in sorted(summary["folds"], key=int)],
    inputs.images,
    snakemake.output.predictions,  # noqa: F821
    f"results/.state/run_ordinal_study/{study}/{key}",
    model=spec["model"],
    task=spec["task"],
    levels=spec["levels"],
    draws=spec["draws"],
    methods=dict(spec["methods"]),
    training=spec["training"],
    evaluation=spec["evaluation"] | {"accelerator": how.accelerator, "batch": how.batch},
    threads=spec["threads"],
    checkpoint_minutes=how.checkpoint_minutes,
)
