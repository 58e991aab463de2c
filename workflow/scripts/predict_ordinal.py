"""Predictions of one method on the test part of each fold, with each checkpoint."""

from pathlib import Path

from countclip.experiments.ordinal import evaluate
from countclip.runtime.files import publish
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, how = snakemake.input, snakemake.resources  # noqa: F821
weights = {(Path(file).stem, Path(file).parent.name): file for file in inputs.weights}
for checkpoint, folder in snakemake.output.items():  # noqa: F821
    with publish(folder) as temporary:
        temporary.mkdir()
        for fold in sorted(Path(inputs.folds).glob("*.parquet")):
            file = weights.get((checkpoint, f"fold{fold.stem}"))
            if not file and checkpoint != "selected":
                continue  # not trained
            evaluate.predict(
                str(fold),
                inputs.images,
                file,
                str(temporary / fold.name),
                model=spec["model"],
                accelerator=how.accelerator,
                batch=how.batch,
                **spec["ordinal"],
                **spec["evaluation"],
            )
