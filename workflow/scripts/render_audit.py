"""Render the audit page, on which a person decides on single rows of the benchmark."""

from countclip.report import audit_page
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
audit_page.render_audit(
    list_json=inputs.list,
    audit_csv=inputs.audit,
    audited_images=inputs.audited_images,
    repairs_csv=inputs.repairs,
    suggestions_csv=inputs.offered,
    benchmark=inputs.benchmark,
    images=inputs.images,
    template=inputs.template,
    page=snakemake.output.page,  # noqa: F821
    scale=spec["scale"],
    save_as=inputs.repairs,
    intersection=inputs.get("intersection"),
)
