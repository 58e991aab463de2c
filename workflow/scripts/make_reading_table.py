"""The reading table: controls, readers and ceilings."""

from pathlib import Path

from countclip.experiments.reading import table
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
train, validation = inputs.questions
predictions = {}
for path in map(Path, inputs.predictions):
    seed = int(path.parent.name.removeprefix("seed"))
    predictions.setdefault(path.stem, {})[seed] = str(path)
summaries = dict(zip(("train", "validation"), inputs.summaries, strict=True))
table.make_table(
    table.read_inputs(
        train_questions=train,
        validation_questions=validation,
        validation_images=inputs.images,
        pool_csv=inputs.pool,
        predictions=predictions,
        clusters={Path(path).stem: path for path in inputs.clusters},
        published_csv=inputs.published,
    ),
    scale=spec["scale"],
    title=f"Can CLIP read? {spec['label']}",
    notes=table.notes_on_run(spec, summaries, inputs.pool_summary),
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
)
