"""Assemble the counting set from all parts, and the funnel that accounts for every row."""

from countclip.data import counting_set
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
settings = spec["counting_set"]
nouns = settings.pop("nouns", None)
roles = [role for role in ("candidates", "counts", "images", "detections") if inputs.get(role)]
counting_set.assemble(
    parts={part: {role: inputs[role][i] for role in roles} for i, part in enumerate(spec["parts"])},
    benchmark=inputs.get("benchmark") or None,
    output=dict(snakemake.output.items()),  # noqa: F821
    nouns_csv=nouns and resource(nouns),
    **settings,
)
