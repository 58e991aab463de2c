"""The table of pretraining with hard and soft labels."""

import json
from collections import defaultdict
from pathlib import Path

from countclip.experiments.soft_labels.scores import Net
from countclip.experiments.soft_labels.table import make_table
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs, outputs = snakemake.input, snakemake.output  # noqa: F821
histories = defaultdict(list)
for file in inputs.histories:
    net, target, *_ = Path(file).parts[-5:]
    histories[net, target].append(file)
make_table(
    {Path(file).parent.name: file for file in inputs.answers},
    histories,
    classes_csv=inputs.classes,
    published_csv=inputs.published,
    csv_path=outputs.csv,
    json_path=outputs.json,
    markdown_path=outputs.markdown,
    nets={name: Net(**net) for name, net in spec["nets"]},
    targets=dict(spec["targets"]),
    pairs=json.loads(Path(inputs.summary).read_text(encoding="utf-8"))["pairs"],
    scale=spec["scale"],
)
