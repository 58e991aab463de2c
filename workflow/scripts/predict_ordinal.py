"""Predictions of one method on the test part of each fold, with each checkpoint."""

from pathlib import Path

from countclip.experiments.ordinal import evaluate
from countclip.runtime.files import publish, sha256, write_json
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, how = snakemake.input, snakemake.resources  # noqa: F821
folders = dict(snakemake.output.items())  # noqa: F821
listed = Path(folders.pop("files"))
weights = {(Path(file).stem, Path(file).parent.name): file for file in inputs.weights}
for checkpoint, folder in folders.items():
    with publish(folder) as temporary:
        temporary.mkdir()
        for fold in sorted(Path(inputs.folds).with_suffix("").glob("*.parquet")):
            of_fold = weights.get((checkpoint, f"fold{fold.stem}"))
            if checkpoint != "selected" and not of_fold:
                continue  # not trained
            evaluate.predict(
                str(fold),
                inputs.images,
                of_fold,
                str(temporary / fold.name),
                model=spec["model"],
                accelerator=how.accelerator,
                batch=how.batch,
                **spec["ordinal"],
                **spec["evaluation"],
            )
files = [file for folder in folders.values() for file in sorted(Path(folder).iterdir())]
write_json({str(file.relative_to(listed.parents[2])): sha256(file) for file in files}, listed)
