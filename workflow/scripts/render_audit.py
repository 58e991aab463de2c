"""The page on which a person looks at the audit and decides about single rows."""

from countclip.report import audit_page
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given, made = snakemake.input, snakemake.output  # noqa: F821
audit_page.render_audit(
    given.list,
    given.audit,
    given.audited_images,
    given.repairs,
    given.offered,
    given.benchmark,
    given.images,
    given.template,
    made.page,
    scale=spec["scale"],
    save_as=given.repairs,
    intersection=given.get("intersection"),
)
