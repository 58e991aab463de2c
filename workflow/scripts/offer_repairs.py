"""Suggest lines for repairs.csv and their images, for a person to check and take over."""

from countclip.benchmarks import repair_suggestions
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
repair_suggestions.suggest(
    list_json=inputs.list,
    audit_csv=inputs.audit,
    suggestions_csv=snakemake.output.lines,  # noqa: F821
    copy_parquet=inputs.get("pictures"),
    image_limits=spec["countbench"]["picture"],
)
